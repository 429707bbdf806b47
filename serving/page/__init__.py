"""The page that a server with place indexes shows at `/`: a photo is dropped on it and finds its place."""
