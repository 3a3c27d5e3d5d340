/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Shared by the files that implement the import module `sys`. suites/sys/src/wasm/imports.rs declares its functions for
 * the guest.
 *
 * A pointer of the guest is an offset in linear memory. A function that can fail returns a negative error number, as
 * Linux's own system calls do.
 */
#ifndef SYS_H
#define SYS_H

#include <errno.h>

#include "guest.h" /* generated */

/* C name of an import. */
#define IMPORT(name) Z_sysZ_##name
#define SYS struct Z_sys_instance_t *sys

struct Z_sys_instance_t {
	wasm_rt_memory_t *memory;
	int argc;
	char **argv;
};

/* Returns `len` bytes of linear memory. */
static inline void *guest_bytes(SYS, u32 at, u32 len)
{
	if (at > sys->memory->size || len > sys->memory->size - at)
		wasm_rt_trap(WASM_RT_TRAP_OOB);
	return sys->memory->data + at;
}

/* Returns a NUL-terminated string in linear memory. */
static inline const char *guest_string(SYS, u32 at)
{
	const char *string = guest_bytes(sys, at, 0);

	if (!memchr(string, 0, sys->memory->size - at))
		wasm_rt_trap(WASM_RT_TRAP_OOB);
	return string;
}

/* Converts an address of the machine to a pointer. */
static inline void *address(u64 at)
{
	return (void *)(uintptr_t)at;
}

/* Converts the result of a libc call for the guest: -1 becomes the negated errno. */
static inline u64 guest_result(s64 value)
{
	return value == -1 ? -(s64)errno : value;
}

/* Repeats a call while it fails with EINTR. */
#define retry_interrupted(call)                             \
	({                                                  \
		s64 value;                                  \
		do                                          \
			value = (call);                     \
		while (value == -1 && errno == EINTR);      \
		guest_result(value);                        \
	})

/* NUL-terminated strings for the guest, one after the other. Strings beyond `room` only count towards `len`. */
struct strings {
	u8 *into;
	u32 room;
	u64 len;
};

static inline void strings_add(struct strings *strings, const char *string)
{
	u64 len = strlen(string) + 1;

	if (strings->len + len <= strings->room)
		memcpy(strings->into + strings->len, string, len);
	strings->len += len;
}

void check_compiler(void);

#endif
