/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reads the trace of a loop device from a mapping of its relay channel. The kernel stores events through the address of
 * the channel's vmap (kernel/relay.c).
 */
#include "mainline.h"
#include <linux/blktrace_api.h>
#include <linux/loop.h>

#ifndef BLKTRACESETUP
#define BLKTRACESETUP _IOWR(0x12, 115, struct blk_user_trace_setup)
#define BLKTRACESTART _IO(0x12, 116)
#define BLKTRACESTOP _IO(0x12, 117)
#define BLKTRACETEARDOWN _IO(0x12, 118)
#endif

enum { PAGES = 16, BUFFERS = 4, READS = 16 };

int main(void)
{
	struct blk_user_trace_setup setup = { .act_mask = 0xffff, .buf_size = 4 * 4096, .buf_nr = BUFFERS };
	int control = need(open("/dev/loop-control", O_RDWR), "open /dev/loop-control"), number, device, file, trace;
	size_t length = PAGES * page_size(), size, found = 0;
	char path[128], *buffer = map_anonymous(length);
	const volatile char *events;

	number = need(ioctl(control, LOOP_CTL_GET_FREE), "LOOP_CTL_GET_FREE");
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	device = need(open(path, O_RDONLY | O_DIRECT), "open the loop device");
	file = memory_file(length);
	check(ioctl(device, LOOP_SET_FD, file), "LOOP_SET_FD");
	need(ioctl(device, BLKTRACESETUP, &setup), "BLKTRACESETUP");
	snprintf(path, sizeof(path), "/sys/kernel/debug/block/%.31s/trace0", setup.name);
	trace = need(open(path, O_RDWR), "open trace0");
	size = (size_t)setup.buf_size * setup.buf_nr;
	events = mmap(NULL, size, PROT_READ, MAP_SHARED, trace, 0);
	if (events == MAP_FAILED)
		need(-1, "mmap of trace0");
	check(ioctl(device, BLKTRACESTART), "BLKTRACESTART");
	for (int i = 0; i < READS; i++)
		check(pread(device, buffer, page_size(), i % PAGES * page_size()), "read the loop device");
	/* Events of the first buffer. */
	for (size_t at = 0; at + sizeof(struct blk_io_trace) <= setup.buf_size;) {
		const volatile struct blk_io_trace *event = (const volatile void *)(events + at);

		if ((event->magic & 0xffffff00) != BLK_IO_TRACE_MAGIC)
			break;
		found++;
		at += sizeof(*event) + event->pdu_len;
	}
	check(ioctl(device, BLKTRACESTOP), "BLKTRACESTOP");
	munmap((void *)events, size);
	close(trace);
	check(ioctl(device, BLKTRACETEARDOWN), "BLKTRACETEARDOWN");
	check(ioctl(device, LOOP_CLR_FD), "LOOP_CLR_FD");
	close(device);
	ioctl(control, LOOP_CTL_REMOVE, number);
	if (found < READS)
		fail("expected at least %d events in the mapping, found %zu", READS, found);
	return PASSED;
}
