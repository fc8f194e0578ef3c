"""Runs classic BPF as the kernel does for seccomp, so that a filter for one machine can be tried on any.

linux/filter.h and Documentation/networking/filter.rst; seccomp knows these instructions and a few more.
"""

import struct
from dataclasses import dataclass

LOAD_WORD, EQUAL, AT_LEAST, BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS

ANSWERS = {0x7FFF0000: "allow", 0x00050000: "errno", 0x80000000: "kill"}


@dataclass(frozen=True)
class Answer:
    """What the kernel does about a call; ``number`` is the error it answers with."""

    action: str
    number: int = 0


def run(program: bytes, number: int, architecture: int, *arguments: int) -> Answer:
    """The answer of a filter to one system call. Raises ValueError where the kernel would refuse the filter."""
    if len(program) % 8 or len(program) // 8 > MOST_INSTRUCTIONS:
        raise ValueError("not so many whole instructions as a filter may have")
    filled = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("<iIQ6Q", number, architecture, 0, *(argument % 2**64 for argument in filled))
    code = list(struct.iter_unpack("<HBBI", program))
    position, accumulator = 0, 0
    while position < len(code):
        operation, if_true, if_false, operand = code[position]
        position += 1
        if operation == RETURN:
            return Answer(ANSWERS[operand & 0xFFFF0000], operand & 0xFFFF)
        if operation == LOAD_WORD:
            if operand % 4 or operand > len(data) - 4:
                raise ValueError(f"instruction {position - 1} loads from {operand}")
            (accumulator,) = struct.unpack_from("<I", data, operand)
            continue
        holds = {
            EQUAL: accumulator == operand,
            AT_LEAST: accumulator >= operand,
            BITS: bool(accumulator & operand),
        }
        if operation not in holds:
            raise ValueError(f"instruction {position - 1} is {operation:#x}")
        position += if_true if holds[operation] else if_false
    raise ValueError("the filter ends without an answer")
