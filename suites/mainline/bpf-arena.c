/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* An arena of BPF needs a just-in-time compiler that knows it. Where caches alias, no architecture has one. */
#include "bpf.h"

#define MAP_TYPE_ARENA 33
#define MMAPABLE (1U << 10)

int main(void)
{
	union bpf_attr attr = { .map_type = MAP_TYPE_ARENA, .map_flags = MMAPABLE, .max_entries = 4 };

	if (bpf(BPF_MAP_CREATE, &attr) < 0)
		skip("BPF_MAP_CREATE of an arena: %s", strerror(errno));
	fail("the kernel created an arena; this program does not test it");
}
