"""The commands of `algo`, by subject; `algorium.cli` puts them together."""
