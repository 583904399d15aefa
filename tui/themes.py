"""The two themes. Colours only repeat what words, signs and shapes already say."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="yolotui-dark",
    primary="#7dcfff",
    secondary="#9ece6a",
    accent="#ffb454",
    warning="#e0af68",
    error="#ff7a85",
    success="#9ece6a",
    foreground="#c8d0e0",
    background="#11141c",
    surface="#171b26",
    panel="#1f2533",
    dark=True,
    variables={
        "label": "#8791a8",
        "rule": "#343c50",
        "band": "#46628a",
        "curve": "#7dcfff",
        "other": "#f0a5d8",
        "mark": "#ffd75f",
        "strong": "#ffffff",
        "key": "#ffb454",
    },
)

LIGHT = Theme(
    name="yolotui-light",
    primary="#005f9e",
    secondary="#3d6b00",
    accent="#9a4d00",
    warning="#855900",
    error="#b3001b",
    success="#2f6b12",
    foreground="#262b36",
    background="#fbfbf8",
    surface="#f0f0ea",
    panel="#e4e5df",
    dark=False,
    variables={
        "label": "#5d6675",
        "rule": "#c3c7cf",
        "band": "#9dbcd8",
        "curve": "#005f9e",
        "other": "#9b2c7e",
        "mark": "#8a4b00",
        "strong": "#000000",
        "key": "#9a4d00",
    },
)
