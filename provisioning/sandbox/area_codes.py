"""Numbers for new lines: +1 AAA 555 0100 and up, in area codes that are in use in the United States."""

from __future__ import annotations

from collections.abc import Collection

DEFAULT_AREA_CODE = "628"
_IN_USE = (
    "201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 234 239 240 248 251 252 "
    "253 254 256 260 262 267 269 270 276 281 301 302 303 304 305 307 308 309 310 312 313 314 315 316 317 318 319 320 "
    "321 323 325 330 331 334 336 337 339 347 351 352 360 361 386 401 402 404 405 406 407 408 409 410 412 413 414 415 "
    "417 419 423 424 425 432 434 435 440 443 469 478 479 480 484 501 502 503 504 505 507 508 509 510 512 513 515 516 "
    "517 518 520 530 540 541 551 559 561 562 563 567 570 571 573 574 580 585 586 601 602 603 605 606 607 608 609 610 "
    "612 614 615 616 617 618 619 620 623 626 628 630 631 636 641 646 650 651 660 661 662 678 682 701 702 703 704 706 "
    "707 708 712 713 714 715 716 717 718 719 720 724 727 731 732 734 740 754 757 760 763 765 770 772 773 774 775 781 "
    "785 786 801 802 803 804 805 806 808 810 812 813 814 815 816 817 818 828 830 831 832 843 845 847 848 850 856 857 "
    "858 859 860 863 864 865 870 901 903 904 906 907 908 909 910 912 913 914 915 916 917 918 919 920 925 928 931 936 "
    "937 940 941 947 949 951 952 954 956 970 971 972 973 978 979 980 985 989"
)
AREA_CODES = frozenset(_IN_USE.split())
_LINE_NUMBERS = range(100, 9000)  # 9000 and up choose faults when they receive


def number_prefix(area_code: str | None) -> str:
    """What numbers in the wished area code start with; an unused or magic area code gets the default one."""
    return f"+1{area_code if area_code in AREA_CODES else DEFAULT_AREA_CODE}555"


def next_number(prefix: str, taken: Collection[str]) -> str:
    """The lowest free number. RuntimeError when all 8,900 are taken."""
    for line_number in _LINE_NUMBERS:
        if (number := f"{prefix}{line_number:04}") not in taken:
            return number
    raise RuntimeError("no number is free in this area code")


def unheld_number(prefix: str, taken: Collection[str]) -> str:
    """A number that no line holds, for notices that are false. RuntimeError when all are taken."""
    for line_number in reversed(_LINE_NUMBERS):
        if (number := f"{prefix}{line_number:04}") not in taken:
            return number
    raise RuntimeError("no number is free in this area code")
