/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Shares the values of a BPF array with the kernel, which reads and writes them through its own addresses. */
#include "bpf.h"

enum { ENTRIES = 64, VALUE = 512, ROUNDS = 3 };

static void element(int command, int map, uint32_t key, void *value, const char *call)
{
	union bpf_attr attr = { .map_fd = map, .key = (uintptr_t)&key, .value = (uintptr_t)value };

	check(bpf(command, &attr), call);
}

int main(void)
{
	int map = bpf_map(BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, sizeof(uint32_t), VALUE, ENTRIES);
	char *mapping = map_shared(map, ENTRIES * VALUE, 0, "the array"), value[VALUE];

	for (int round = 0; round < ROUNDS; round++) {
		for (uint32_t key = 0; key < ENTRIES; key++) {
			fill(value, VALUE, round * ENTRIES + key);
			element(BPF_MAP_UPDATE_ELEM, map, key, value, "BPF_MAP_UPDATE_ELEM");
			expect_pattern(mapping + key * VALUE, VALUE, round * ENTRIES + key, "value that the kernel stored");
		}
		for (uint32_t key = 0; key < ENTRIES; key++) {
			fill(mapping + key * VALUE, VALUE, 1000 + round * ENTRIES + key);
			element(BPF_MAP_LOOKUP_ELEM, map, key, value, "BPF_MAP_LOOKUP_ELEM");
			expect_pattern(value, VALUE, 1000 + round * ENTRIES + key, "value that the process stored");
		}
	}
	return PASSED;
}
