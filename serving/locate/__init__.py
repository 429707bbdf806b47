"""The program that says where photos were taken: `python -m serving.locate`."""
