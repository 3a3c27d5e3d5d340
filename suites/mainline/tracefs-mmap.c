/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reads trace events from a mapping of the tracing ring buffer. TRACE_MMAP_IOCTL_GET_READER exchanges the page of the
 * reader (kernel/trace/ring_buffer.c).
 */
#include "mainline.h"

/* linux/trace_mmap.h, which is newer than the headers of Debian 12. */
struct trace_buffer_meta {
	uint32_t meta_page_size, meta_struct_len, subbuf_size, nr_subbufs;
	struct {
		uint64_t lost_events;
		uint32_t id, read;
	} reader;
	uint64_t flags, entries, overrun, read, reserved1, reserved2;
};
#define TRACE_MMAP_IOCTL_GET_READER _IO('R', 0x20)

#define TRACING "/sys/kernel/tracing"

enum { ROUNDS = 200, MARKS = 8 };

int main(void)
{
	struct trace_buffer_meta *meta;
	volatile char *pages;
	size_t page = page_size();
	int fd, marker, found_total = 0;

	mount_at("tracefs", TRACING);
	need(write_text(TRACING "/buffer_size_kb", "64"), "write buffer_size_kb");
	check(write_text(TRACING "/tracing_on", "1"), "write tracing_on");
	fd = need(open(TRACING "/per_cpu/cpu0/trace_pipe_raw", O_RDONLY | O_NONBLOCK), "open trace_pipe_raw");
	marker = check(open(TRACING "/trace_marker", O_WRONLY), "open trace_marker");
	meta = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);
	if (meta == MAP_FAILED)
		need(-1, "mmap of the ring buffer");
	pages = mmap(NULL, (size_t)meta->subbuf_size * meta->nr_subbufs, PROT_READ, MAP_SHARED, fd,
		     meta->meta_page_size);
	if (pages == MAP_FAILED)
		fail("mmap of the pages of the ring buffer: %s", strerror(errno));
	for (int round = 0; round < ROUNDS; round++) {
		char text[80];
		int size, found = 0;

		for (int i = 0; i < MARKS; i++) {
			size = snprintf(text, sizeof(text), "mainline-%04d-%d-abcdefghijklmnopqrstuvwxyz", round, i);
			check(write(marker, text, size), "write trace_marker");
		}
		/* Each call gives the reader one page. Read until the last mark of the round appears. */
		for (int call = 0; call < 4 && !found; call++) {
			volatile char *reader;

			check(ioctl(fd, TRACE_MMAP_IOCTL_GET_READER), "TRACE_MMAP_IOCTL_GET_READER");
			reader = pages + (size_t)meta->reader.id * meta->subbuf_size;
			for (size_t at = 0; at + size <= meta->subbuf_size && !found; at++) {
				int same = 0;

				while (same < size && reader[at + same] == text[same])
					same++;
				found = same == size;
			}
		}
		found_total += found;
	}
	check(write_text(TRACING "/trace", "\n"), "write trace");
	umount(TRACING);
	if (found_total != ROUNDS)
		fail("expected the last mark of %d rounds in the mapped pages, found it in %d", ROUNDS, found_total);
	return PASSED;
}
