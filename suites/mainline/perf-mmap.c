/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reads samples from the ring buffer of a perf event, which this process maps. The kernel stores the samples through
 * addresses of its own (kernel/events/ring_buffer.c).
 */
#include "mainline.h"
#include <linux/perf_event.h>

enum { DATA_PAGES = 8, ROUNDS = 20, FAULTS = 16 };

struct sample {
	struct perf_event_header header;
	uint32_t pid, tid;
	uint64_t address;
};

/* Copies bytes out of the ring, which may wrap. */
static void copy_out(void *to, const char *data, uint64_t at, size_t size, size_t count)
{
	for (size_t i = 0; i < count; i++)
		((char *)to)[i] = ((volatile const char *)data)[(at + i) % size];
}

int main(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(attr),
					.config = PERF_COUNT_SW_PAGE_FAULTS, .sample_period = 1,
					.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_ADDR, .exclude_kernel = 1 };
	size_t page = page_size(), size = DATA_PAGES * page;
	int fd = need(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0), "perf_event_open");
	struct perf_event_mmap_page *control = map_shared(fd, page + size, 0, "the ring buffer");
	const char *data = (char *)control + page;
	uint64_t tail = 0;

	for (int round = 0; round < ROUNDS; round++) {
		char *fresh = mmap(NULL, FAULTS * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		int seen = 0;
		uint64_t head;

		for (int i = 0; i < FAULTS; i++)
			((volatile char *)fresh)[i * page] = i;
		/* Not atomic: 32-bit machines have no instruction for it. There is one processor. */
		head = *(volatile __u64 *)&control->data_head;
		__sync_synchronize();
		while (tail < head) {
			struct sample sample;

			copy_out(&sample, data, tail, size, sizeof(sample));
			if (sample.header.type == PERF_RECORD_LOST)
				fail("round %d: samples were lost: the kernel does not see data_tail", round);
			if (sample.header.type != PERF_RECORD_SAMPLE || sample.header.size != sizeof(sample))
				fail("round %d: a record of type %u and size %u", round, sample.header.type,
				     sample.header.size);
			if (sample.pid != (uint32_t)getpid())
				fail("round %d: a sample of process %u", round, sample.pid);
			if (sample.address == (uintptr_t)fresh + (uintptr_t)seen * page && seen < FAULTS)
				seen++;
			tail += sample.header.size;
		}
		__sync_synchronize();
		*(volatile __u64 *)&control->data_tail = tail;
		if (seen != FAULTS)
			fail("round %d: expected samples of %d page faults, found %d", round, FAULTS, seen);
		munmap(fresh, FAULTS * page);
	}
	return PASSED;
}
