// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What went wrong somewhere before, checked at every start: a guest that counts wrongly would blame the kernel. It
 * takes microseconds. Everything is volatile, so that it is the program that counts and not the compiler.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sys.h"

static void insist(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "the compiler made a program that does not work: %s\n", what);
	abort();
}

/* Numbers lie in linear memory with the lowest byte first, at any address. */
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
		insist(!memcmp(bytes + at, expected, 8), "order of 8 bytes");
		wasm_rt_memcpy(&eight_back, bytes + at, sizeof(eight));
		insist(eight_back == eight, "8 bytes there and back");
		wasm_rt_memcpy(bytes + at, &four, sizeof(four));
		insist(!memcmp(bytes + at, expected, 4), "order of 4 bytes");
		wasm_rt_memcpy(&four_back, bytes + at, sizeof(four));
		insist(four_back == four, "4 bytes there and back");
		wasm_rt_memcpy(bytes + at, &two, sizeof(two));
		insist(!memcmp(bytes + at, expected, 2), "order of 2 bytes");
		wasm_rt_memcpy(&two_back, bytes + at, sizeof(two));
		insist(two_back == two, "2 bytes there and back");
		wasm_rt_memcpy(bytes + at, &real_in, sizeof(real_in));
		insist(!memcmp(bytes + at, one, 8), "order of a double's bytes");
		wasm_rt_memcpy(&real_back, bytes + at, sizeof(real_in));
		insist(real_back == 1.0, "a double there and back");
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
		insist(bytes[i + 3] == i, "memmove to a place that overlaps");
	memcpy(bytes, bytes + 64, len);
	for (i = 0; i < len; i++)
		insist(bytes[i] == i + 64, "memcpy");
}

static void check_arithmetic(void)
{
	static volatile u64 big = 0xfedcba9876543210, small = 0x123456789;
	static volatile s64 negative = -1000000007LL * 1000;
	static volatile double real = 1e15;
	static volatile u32 shift = 33;

	insist(big / small == 0xe0000000, "division of 64 bits");
	insist(big % small == 0x96543210, "remainder of 64 bits");
	insist(negative / 1000 == -1000000007, "signed division of 64 bits");
	insist(big >> shift == 0x7f6e5d4c, "shift of 64 bits");
	insist(small * small == 0x4b66dc326fb98751, "product of 64 bits");
	insist((u64)(real / 3) == 333333333333333, "a double to 64 bits");
	insist((double)small == 4886718345.0, "64 bits to a double");
}

void check_compiler(void)
{
	check_byte_order();
	check_copies();
	check_arithmetic();
}
