/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* An arena of BPF needs a just-in-time compiler that knows it. Where caches alias, no architecture has one. */
#include "bpf.h"

#define MAP_TYPE_ARENA 33
#define MMAPABLE (1U << 10)

int main(void)
{
	bpf_map(MAP_TYPE_ARENA, MMAPABLE, 0, 0, 4);
	fail("the kernel created an arena; this program does not test it");
}
