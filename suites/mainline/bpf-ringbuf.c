/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Receives records from a BPF program through a ring buffer, which this process maps. The kernel maps the data pages of
 * the ring twice for itself (kernel/bpf/ringbuf.c).
 */
#include "bpf.h"

enum { DATA_PAGES = 4, RECORDS = 600, RECORD = 64 };

int main(void)
{
	size_t page = page_size(), size = DATA_PAGES * page;
	int map = bpf_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 0, size), program;
	/* Copies 64 bytes behind the packet's Ethernet header to the stack and sends them. */
	const struct bpf_insn instructions[] = {
		MOVE_REG(BPF_REG_6, BPF_REG_1),
		MOVE_IMM(BPF_REG_2, 0),
		MOVE_REG(BPF_REG_3, BPF_REG_10),
		ADD_IMM(BPF_REG_3, -RECORD),
		MOVE_IMM(BPF_REG_4, RECORD),
		CALL(BPF_FUNC_skb_load_bytes),
		LOAD_MAP(BPF_REG_1, map),
		MOVE_REG(BPF_REG_2, BPF_REG_10),
		ADD_IMM(BPF_REG_2, -RECORD),
		MOVE_IMM(BPF_REG_3, RECORD),
		MOVE_IMM(BPF_REG_4, 0),
		CALL(BPF_FUNC_ringbuf_output),
		EXIT(),
	};
	volatile unsigned long *consumer, *producer;
	char packet[14 + RECORD + 64] = { 0 };
	const char *data;
	unsigned long position = 0;

	program = bpf_socket_filter(instructions, sizeof(instructions) / sizeof(*instructions));
	consumer = map_shared(map, page, 0, "the consumer page");
	producer = mmap(NULL, page + 2 * size, PROT_READ, MAP_SHARED, map, page);
	if (producer == MAP_FAILED)
		fail("mmap of the producer pages: %s", strerror(errno));
	data = (const char *)producer + page;
	for (int i = 0; i < RECORDS; i++) {
		const char *record = data + (position & (size - 1));
		unsigned int header;

		fill(packet + 14, sizeof(packet) - 14, i);
		if (bpf_run(program, packet, sizeof(packet)) != 0)
			fail("record %d: the ring is full: the kernel does not see the consumer's position", i);
		if (__atomic_load_n(producer, __ATOMIC_ACQUIRE) == position)
			fail("record %d: the producer's position did not move", i);
		header = __atomic_load_n((const unsigned int *)record, __ATOMIC_ACQUIRE);
		if (header != RECORD)
			fail("record %d: expected the length %d, found 0x%x", i, RECORD, header);
		expect_pattern(record + BPF_RINGBUF_HDR_SZ, RECORD, i, "record");
		position += RECORD + BPF_RINGBUF_HDR_SZ;
		__atomic_store_n(consumer, position, __ATOMIC_RELEASE);
	}
	return PASSED;
}
