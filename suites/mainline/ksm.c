/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Lets the kernel merge equal pages of this process, and stores to them again. */
#include "mainline.h"

#define KSM "/sys/kernel/mm/ksm/"

enum { PAGES = 32 };

static long number(const char *path)
{
	char text[32] = "";
	int fd = need(open(path, O_RDONLY), path);

	check(read(fd, text, sizeof(text) - 1), path);
	close(fd);
	return atol(text);
}

int main(void)
{
	size_t page = page_size();
	char *memory = map_anonymous(PAGES * page);

	if (access(KSM, F_OK) < 0)
		skip("the kernel has no KSM");
	for (int i = 0; i < PAGES; i++)
		fill(memory + i * page, page, 7);
	need(madvise(memory, PAGES * page, MADV_MERGEABLE), "MADV_MERGEABLE");
	need(write_text(KSM "pages_to_scan", "1000"), "write pages_to_scan");
	check(write_text(KSM "sleep_millisecs", "10"), "write sleep_millisecs");
	check(write_text(KSM "run", "1"), "write run");
	for (int tries = 0; number(KSM "pages_sharing") < PAGES - 2; tries++) {
		if (tries == 1000)
			fail("only %ld pages were merged", number(KSM "pages_sharing"));
		usleep(10000);
	}
	for (int i = 0; i < PAGES; i++)
		expect_pattern(memory + i * page, page, 7, "merged page");
	for (int i = 0; i < PAGES; i++)
		fill(memory + i * page, page, i);
	for (int i = 0; i < PAGES; i++)
		expect_pattern(memory + i * page, page, i, "page that was separated");
	check(write_text(KSM "run", "2"), "write run");
	check(write_text(KSM "run", "0"), "write run");
	return PASSED;
}
