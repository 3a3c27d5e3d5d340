// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the generated code calls: linear memory, the table of functions, types of functions, traps. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "wasm-rt.h"

#define WASM_PAGE 65536u

/*
 * Address space that is kept for linear memory. It grows inside by mprotect(2), so that pointers into it stay valid.
 * The guest's largest case holds some ten MiB.
 */
#define RESERVED_PAGES (192u * 1024 * 1024 / WASM_PAGE)

/* More than the guest's functions have signatures. */
#define FUNC_TYPES 512
#define TYPE_WORDS 40

__attribute__((noreturn)) static void give_up(const char *why)
{
	fprintf(stderr, "the runtime gives up: %s\n", why);
	abort();
}

bool wasm_rt_is_initialized(void)
{
	return true;
}

/* Ends the process as a panic of a program that rustc compiled for this machine would: by SIGABRT. */
void wasm_rt_trap(wasm_rt_trap_t trap)
{
	static const char *const words[] = {
		[WASM_RT_TRAP_NONE] = "none",
		[WASM_RT_TRAP_OOB] = "out of bounds of linear memory or of a table",
		[WASM_RT_TRAP_INT_OVERFLOW] = "integer overflow in a division or conversion",
		[WASM_RT_TRAP_DIV_BY_ZERO] = "division by zero",
		[WASM_RT_TRAP_INVALID_CONVERSION] = "not a number converted to an integer",
		[WASM_RT_TRAP_UNREACHABLE] = "unreachable, as after a panic",
		[WASM_RT_TRAP_CALL_INDIRECT] = "call of a function of another type",
	};

	fprintf(stderr, "trap: %s\n", words[trap]);
	abort();
}

/* A number for each signature, the same for the same signature: calls through a table compare it. */
uint32_t wasm_rt_register_func_type(uint32_t params, uint32_t results, ...)
{
	static uint8_t types[FUNC_TYPES][TYPE_WORDS];
	static uint32_t count;
	uint8_t type[TYPE_WORDS] = { params, results };
	va_list list;
	uint32_t i;

	if (2 + params + results > TYPE_WORDS)
		give_up("a function has more parameters than it knows");
	va_start(list, results);
	for (i = 0; i < params + results; i++)
		type[2 + i] = va_arg(list, wasm_rt_type_t);
	va_end(list);

	for (i = 0; i < count; i++)
		if (memcmp(types[i], type, sizeof(type)) == 0)
			return i + 1;
	if (count == FUNC_TYPES)
		give_up("there are more types of functions than it knows");
	memcpy(types[count], type, sizeof(type));
	return ++count;
}

void wasm_rt_allocate_memory(wasm_rt_memory_t *memory, uint32_t pages, uint32_t max_pages)
{
	void *data = mmap(NULL, (size_t)RESERVED_PAGES * WASM_PAGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (data == MAP_FAILED)
		give_up("no address space for linear memory");
	memory->data = data;
	memory->pages = 0;
	memory->size = 0;
	memory->max_pages = max_pages < RESERVED_PAGES ? max_pages : RESERVED_PAGES;
	if (wasm_rt_grow_memory(memory, pages) == UINT32_MAX)
		give_up("no memory to start with");
}

/* Pages there were before; UINT32_MAX where there is no room, which is out-of-memory to the guest. */
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
		give_up("no memory for the table of functions");
	table->size = size;
	table->max_size = max_size;
}

void wasm_rt_free_funcref_table(wasm_rt_funcref_table_t *table)
{
	free(table->data);
}
