"""The commands of `algorium` beside `serve`, one module for each thing they are about."""
