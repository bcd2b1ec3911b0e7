"""Train expression translators that keep the person: StarGAN v2 with an identity loss, on Ray."""

__version__ = "0.1.0"
