// SPDX-License-Identifier: MIT OR Apache-2.0
/* Functions that the generated code calls: linear memory, the function table, function types, and traps. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "wasm-rt.h"

#define WASM_PAGE 65536u

/*
 * Address space reserved for linear memory, in pages. Linear memory grows within it by mprotect(2), so pointers into it
 * remain valid. The guest's largest case uses about ten MiB.
 */
#define RESERVED_PAGES (192u * 1024 * 1024 / WASM_PAGE)

/* Maximum number of function signatures. The guest has fewer. */
#define FUNC_TYPES 512
/* Maximum length of a signature in bytes: two counts, and one byte for each parameter and result. */
#define TYPE_BYTES 40

__attribute__((noreturn)) static void fail(const char *error)
{
	fprintf(stderr, "WebAssembly runtime: %s\n", error);
	abort();
}

bool wasm_rt_is_initialized(void)
{
	return true;
}

/* Ends the process with SIGABRT, like a panic in a native program. */
void wasm_rt_trap(wasm_rt_trap_t trap)
{
	static const char *const reasons[] = {
		[WASM_RT_TRAP_NONE] = "none",
		[WASM_RT_TRAP_OOB] = "access outside linear memory or a table",
		[WASM_RT_TRAP_INT_OVERFLOW] = "integer overflow in a division or conversion",
		[WASM_RT_TRAP_DIV_BY_ZERO] = "division by zero",
		[WASM_RT_TRAP_INVALID_CONVERSION] = "NaN converted to an integer",
		[WASM_RT_TRAP_UNREACHABLE] = "unreachable code, as after a panic",
		[WASM_RT_TRAP_CALL_INDIRECT] = "indirect call of a function with a different signature",
	};

	fprintf(stderr, "WebAssembly trap: %s\n", reasons[trap]);
	abort();
}

/* Returns the number of a signature. Equal signatures have the same number; calls through a table compare it. */
uint32_t wasm_rt_register_func_type(uint32_t params, uint32_t results, ...)
{
	static uint8_t types[FUNC_TYPES][TYPE_BYTES];
	static uint32_t count;
	uint8_t type[TYPE_BYTES] = { params, results };
	va_list list;
	uint32_t i;

	if (2 + params + results > TYPE_BYTES)
		fail("a function has too many parameters");
	va_start(list, results);
	for (i = 0; i < params + results; i++)
		type[2 + i] = va_arg(list, wasm_rt_type_t);
	va_end(list);

	for (i = 0; i < count; i++)
		if (memcmp(types[i], type, sizeof(type)) == 0)
			return i + 1;
	if (count == FUNC_TYPES)
		fail("there are too many function signatures");
	memcpy(types[count], type, sizeof(type));
	return ++count;
}

void wasm_rt_allocate_memory(wasm_rt_memory_t *memory, uint32_t pages, uint32_t max_pages)
{
	void *data = mmap(NULL, (size_t)RESERVED_PAGES * WASM_PAGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (data == MAP_FAILED)
		fail("cannot reserve address space for linear memory");
	memory->data = data;
	memory->pages = 0;
	memory->size = 0;
	memory->max_pages = max_pages < RESERVED_PAGES ? max_pages : RESERVED_PAGES;
	if (wasm_rt_grow_memory(memory, pages) == UINT32_MAX)
		fail("cannot allocate the initial linear memory");
}

/* Returns the previous number of pages. Returns UINT32_MAX if memory cannot grow; the guest then is out of memory. */
uint32_t wasm_rt_grow_memory(wasm_rt_memory_t *memory, uint32_t delta)
{
	uint32_t before = memory->pages;

	if (delta > memory->max_pages - before)
		return UINT32_MAX;
	if (delta && mprotect(memory->data + memory->size, (size_t)delta * WASM_PAGE, PROT_READ | PROT_WRITE))
		return UINT32_MAX;
	memory->pages += delta;
	memory->size = memory->pages * WASM_PAGE;
	return before;
}

void wasm_rt_free_memory(wasm_rt_memory_t *memory)
{
	munmap(memory->data, (size_t)RESERVED_PAGES * WASM_PAGE);
}

void wasm_rt_allocate_funcref_table(wasm_rt_funcref_table_t *table, uint32_t size, uint32_t max_size)
{
	table->data = calloc(size, sizeof(*table->data));
	if (size && !table->data)
		fail("cannot allocate the function table");
	table->size = size;
	table->max_size = max_size;
}

void wasm_rt_free_funcref_table(wasm_rt_funcref_table_t *table)
{
	free(table->data);
}
