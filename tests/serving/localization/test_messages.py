"""The messages that are made in Python are those of the .proto file."""

import re
from pathlib import Path

from serving.localization import messages


def test_the_messages_are_those_of_the_proto_file() -> None:
    text = re.sub(r"//.*", "", Path(messages.__file__).with_name("localization.proto").read_text())
    found = {
        name: [" ".join(field.replace("=", "").split()) for field in body.split(";") if field.strip()]
        for name, body in re.findall(r"message (\w+) \{(.*?)\}", text, re.DOTALL)
    }
    assert found == messages.MESSAGES
    assert f"package {messages.PACKAGE};" in text
    method = messages.DESCRIPTOR.services_by_name["LocalizationService"].methods_by_name[messages.METHOD]
    assert f"rpc {method.name}({method.input_type.name}) returns ({method.output_type.name});" in text
    assert messages.LocalizeRequest(k=0).HasField("k")
    assert not messages.LocalizeRequest().HasField("k")
