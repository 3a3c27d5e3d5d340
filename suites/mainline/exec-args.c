/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Executes itself with long arguments and environment, which the kernel copies into the pages of the new stack. */
#include "mainline.h"

enum { ARGUMENTS = 8, LENGTH = 3000, ROUNDS = 3 };

static void text(char *to, int seed)
{
	for (int i = 0; i < LENGTH; i++)
		to[i] = 'a' + pattern(seed, i) % 26;
	to[LENGTH] = 0;
}

int main(int argc, char **argv)
{
	static char texts[ARGUMENTS][LENGTH + 1], expected[LENGTH + 1], number[16];
	char *args[ARGUMENTS + 3] = { "exec-args", number };
	int round = argc > 1 ? atoi(argv[1]) : 0;

	for (int i = 0; argc > 1 && i < ARGUMENTS; i++) {
		text(expected, 100 * round + i);
		if (argc != ARGUMENTS + 2 || strcmp(argv[i + 2], expected))
			fail("round %d: argument %d is not the one that was passed", round, i);
	}
	if (round == ROUNDS)
		return PASSED;
	snprintf(number, sizeof(number), "%d", round + 1);
	for (int i = 0; i < ARGUMENTS; i++) {
		text(texts[i], 100 * (round + 1) + i);
		args[i + 2] = texts[i];
	}
	execv("/proc/self/exe", args);
	fail("execv: %s", strerror(errno));
}
