"""The equations, each in one pure function: arrays in, one loss term out."""
