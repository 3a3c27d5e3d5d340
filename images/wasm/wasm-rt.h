/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Runtime interface of the C code that wasm2c (wabt 1.0.32) generates.
 *
 * This header replaces wabt's own, for the sake of big-endian machines. There, wabt 1.0.32 reverses the whole linear
 * memory (WABT_BIG_ENDIAN, never set here), but does not take that into account in memory.copy and memory.fill. Here,
 * linear memory has the byte order that WebAssembly prescribes. Strings and buffers can therefore be passed to system
 * calls unchanged; only numbers are byte-swapped when they are loaded or stored.
 */
#ifndef WASM_RT_H
#define WASM_RT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* The generated code checks bounds itself, because a 32-bit address space is too small for a guard region of 4 GiB. */
#define WASM_RT_MEMCHECK_SIGNAL_HANDLER 0
/*
 * The kernel limits the C stack. The shadow stack is at the start of linear memory, so its overflow is an access out of
 * bounds.
 */
#define WASM_RT_USE_STACK_DEPTH_COUNT 0

typedef enum {
	WASM_RT_TRAP_NONE,
	WASM_RT_TRAP_OOB,
	WASM_RT_TRAP_INT_OVERFLOW,
	WASM_RT_TRAP_DIV_BY_ZERO,
	WASM_RT_TRAP_INVALID_CONVERSION,
	WASM_RT_TRAP_UNREACHABLE,
	WASM_RT_TRAP_CALL_INDIRECT,
} wasm_rt_trap_t;

typedef enum {
	WASM_RT_I32,
	WASM_RT_I64,
	WASM_RT_F32,
	WASM_RT_F64,
	WASM_RT_FUNCREF,
	WASM_RT_EXTERNREF,
} wasm_rt_type_t;

typedef void (*wasm_rt_function_ptr_t)(void);

/* Function that can be called through a table. */
typedef struct {
	uint32_t func_type; /* from wasm_rt_register_func_type() */
	wasm_rt_function_ptr_t func;
	void *module_instance;
} wasm_rt_funcref_t;

typedef void *wasm_rt_externref_t;

static const wasm_rt_funcref_t wasm_rt_funcref_null_value;
static const wasm_rt_externref_t wasm_rt_externref_null_value;

/* Linear memory. A page is 64 KiB. `data` never moves. */
typedef struct {
	uint8_t *data;
	uint32_t pages, max_pages;
	uint32_t size; /* bytes */
} wasm_rt_memory_t;

typedef struct {
	wasm_rt_funcref_t *data;
	uint32_t max_size;
	uint32_t size;
} wasm_rt_funcref_table_t;

/* Not used by the guest, but the generated code contains helpers for such tables. */
typedef struct {
	wasm_rt_externref_t *data;
	uint32_t max_size;
	uint32_t size;
} wasm_rt_externref_table_t;

bool wasm_rt_is_initialized(void);
__attribute__((noreturn)) void wasm_rt_trap(wasm_rt_trap_t trap);
uint32_t wasm_rt_register_func_type(uint32_t params, uint32_t results, ...);
void wasm_rt_allocate_memory(wasm_rt_memory_t *memory, uint32_t pages, uint32_t max_pages);
uint32_t wasm_rt_grow_memory(wasm_rt_memory_t *memory, uint32_t delta);
void wasm_rt_free_memory(wasm_rt_memory_t *memory);
void wasm_rt_allocate_funcref_table(wasm_rt_funcref_table_t *table, uint32_t size, uint32_t max_size);
void wasm_rt_free_funcref_table(wasm_rt_funcref_table_t *table);

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__

/* Copies a number of 1, 2, 4 or 8 bytes between a register and linear memory. `size` is a compile-time constant. */
static inline void wasm_rt_memcpy_reversed(void *to, const void *from, size_t size)
{
	uint16_t two;
	uint32_t four;
	uint64_t eight;

	switch (size) {
	case 1:
		memcpy(to, from, 1);
		break;
	case 2:
		memcpy(&two, from, 2);
		two = __builtin_bswap16(two);
		memcpy(to, &two, 2);
		break;
	case 4:
		memcpy(&four, from, 4);
		four = __builtin_bswap32(four);
		memcpy(to, &four, 4);
		break;
	case 8:
		memcpy(&eight, from, 8);
		eight = __builtin_bswap64(eight);
		memcpy(to, &eight, 8);
		break;
	}
}

/* The generated code calls this only to load and store numbers. */
#define wasm_rt_memcpy wasm_rt_memcpy_reversed

#else

#define wasm_rt_memcpy memcpy

#endif

#endif
