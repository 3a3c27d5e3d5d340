/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the files behind the import module `sys` share. The guest's side of it is suites/sys/src/wasm/imports.rs.
 *
 * Every pointer of the guest is an offset in linear memory. A result that can be an error is a number, or an errno
 * below zero, as with Linux's own system calls.
 */
#ifndef SYS_H
#define SYS_H

#include <errno.h>

#include "guest.h" /* generated */

/* The C name of an import. */
#define IMPORT(name) Z_sysZ_##name
#define SYS struct Z_sys_instance_t *sys

struct Z_sys_instance_t {
	wasm_rt_memory_t *memory;
	int argc;
	char **argv;
};

/* `len` bytes of linear memory. */
static inline void *guest_bytes(SYS, u32 at, u32 len)
{
	if (at > sys->memory->size || len > sys->memory->size - at)
		wasm_rt_trap(WASM_RT_TRAP_OOB);
	return sys->memory->data + at;
}

/* A text in linear memory. */
static inline const char *guest_text(SYS, u32 at)
{
	const char *text = guest_bytes(sys, at, 0);

	if (!memchr(text, 0, sys->memory->size - at))
		wasm_rt_trap(WASM_RT_TRAP_OOB);
	return text;
}

/* An address of the machine. */
static inline void *address(u64 at)
{
	return (void *)(uintptr_t)at;
}

/* What a call said: -1 is the number in errno. */
static inline u64 answer(s64 value)
{
	return value == -1 ? -(s64)errno : value;
}

/* Makes a call again for as long as a signal interrupts it. */
#define uninterrupted(call)                                 \
	({                                                  \
		s64 value;                                  \
		do                                          \
			value = (call);                     \
		while (value == -1 && errno == EINTR);      \
		answer(value);                              \
	})

/* Texts on their way to the guest, each with a NUL behind it. Those beyond the room are counted only. */
struct texts {
	u8 *into;
	u32 room;
	u64 len;
};

static inline void texts_add(struct texts *texts, const char *text)
{
	u64 len = strlen(text) + 1;

	if (texts->len + len <= texts->room)
		memcpy(texts->into + texts->len, text, len);
	texts->len += len;
}

void check_compiler(void);

#endif
