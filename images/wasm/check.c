// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Checks at every start for errors that compilers have made before. Without these checks, the wrong results of a
 * miscompiled guest would look like errors of the kernel. The checks take microseconds. Operands are volatile, so that
 * the results are computed by the program and not by the compiler.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sys.h"

static void check(int correct, const char *operation)
{
	if (correct)
		return;
	fprintf(stderr, "the C compiler has miscompiled this program: wrong result of %s\n", operation);
	abort();
}

/* Numbers in linear memory are little-endian, at any address. */
static void check_byte_order(void)
{
	static const u8 expected[] = { 8, 7, 6, 5, 4, 3, 2, 1 };
	static const u8 one[] = { 0, 0, 0, 0, 0, 0, 0xf0, 0x3f };
	static volatile u64 number = 0x0102030405060708;
	static volatile double real = 1.0;
	u8 bytes[16];
	u64 eight = number, eight_back;
	u32 four = number, four_back;
	u16 two = number, two_back;
	double real_in = real, real_back;
	u32 at;

	for (at = 0; at < 8; at++) {
		wasm_rt_memcpy(bytes + at, &eight, sizeof(eight));
		check(!memcmp(bytes + at, expected, 8), "storing 8 bytes");
		wasm_rt_memcpy(&eight_back, bytes + at, sizeof(eight));
		check(eight_back == eight, "loading 8 bytes");
		wasm_rt_memcpy(bytes + at, &four, sizeof(four));
		check(!memcmp(bytes + at, expected, 4), "storing 4 bytes");
		wasm_rt_memcpy(&four_back, bytes + at, sizeof(four));
		check(four_back == four, "loading 4 bytes");
		wasm_rt_memcpy(bytes + at, &two, sizeof(two));
		check(!memcmp(bytes + at, expected, 2), "storing 2 bytes");
		wasm_rt_memcpy(&two_back, bytes + at, sizeof(two));
		check(two_back == two, "loading 2 bytes");
		wasm_rt_memcpy(bytes + at, &real_in, sizeof(real_in));
		check(!memcmp(bytes + at, one, 8), "storing a double");
		wasm_rt_memcpy(&real_back, bytes + at, sizeof(real_in));
		check(real_back == 1.0, "loading a double");
	}
}

static void check_copies(void)
{
	static volatile u32 len = 61;
	u8 bytes[128];
	u32 i;

	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = i;
	memmove(bytes + 3, bytes, len);
	for (i = 0; i < len; i++)
		check(bytes[i + 3] == i, "memmove to an overlapping range");
	memcpy(bytes, bytes + 64, len);
	for (i = 0; i < len; i++)
		check(bytes[i] == i + 64, "memcpy");
}

static void check_arithmetic(void)
{
	static volatile u64 big = 0xfedcba9876543210, small = 0x123456789;
	static volatile s64 negative = -1000000007LL * 1000;
	static volatile double real = 1e15;
	static volatile u32 shift = 33;

	check(big / small == 0xe0000000, "64-bit division");
	check(big % small == 0x96543210, "64-bit remainder");
	check(negative / 1000 == -1000000007, "signed 64-bit division");
	check(big >> shift == 0x7f6e5d4c, "64-bit shift");
	check(small * small == 0x4b66dc326fb98751, "64-bit multiplication");
	check((u64)(real / 3) == 333333333333333, "converting a double to 64 bits");
	check((double)small == 4886718345.0, "converting 64 bits to a double");
}

void check_compiler(void)
{
	check_byte_order();
	check_copies();
	check_arithmetic();
}
