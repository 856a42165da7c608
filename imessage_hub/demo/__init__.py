"""The demo: a clinic, a provider emulator, and one message for each rule; `python -m imessage_hub.demo`."""
