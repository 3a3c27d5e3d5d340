// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Imports: markers for a cache oracle, see suites/sys/src/oracle.rs. The number in the instruction is 1 for open, 2 for
 * close and 3 for known. On machines without markers the functions do nothing.
 */
#include "sys.h"

#ifdef __hppa__

/*
 * ldo 0x1a00+n(%r0), %r0: a sum whose target is the register that is always 0 (PA-RISC 1.1 Reference Manual, LOAD
 * OFFSET).
 */
#define MARKER(n) "ldo 0x1a0" #n "(%%r0),%%r0\n\t"
/*
 * Aligns the marker and its stores to 32 bytes. The assembler pads with zeros, which are not a valid instruction, so
 * the code jumps over the padding.
 */
#define ALIGN "b,n 1f\n\t.align 32\n1:\t"

void IMPORT(oracle_open)(SYS, u32 id)
{
	u32 place;

	__asm__ volatile(ALIGN
			 "stw %1,0(%2)\n\t"
			 MARKER(1)
			 "stw %1,0(%2)"
			 : "=m"(place) : "r"(id), "r"(&place) : "memory");
}

void IMPORT(oracle_close)(SYS)
{
	__asm__ volatile(MARKER(2) ::: "memory");
}

void IMPORT(oracle_known)(SYS, u64 at, u64 physical)
{
	/*
	 * The oracle searches the emulator's processor state for the values of these two registers, to find out where
	 * the state contains the registers.
	 */
	register u32 low __asm__("r26") = at;
	register u32 physical_low __asm__("r25") = physical;
	u32 high = at >> 32, physical_high = physical >> 32;

	__asm__ volatile(ALIGN
			 "stw %0,0(%4)\n\t"
			 MARKER(3)
			 "stw %0,0(%4)\n\t"
			 "stw %1,4(%4)\n\t"
			 "stw %2,8(%4)\n\t"
			 "stw %3,12(%4)"
			 :: "r"(high), "r"(low), "r"(physical_high), "r"(physical_low), "r"(address(at)) : "memory");
}

#else

void IMPORT(oracle_open)(SYS, u32 id)
{
}

void IMPORT(oracle_close)(SYS)
{
}

void IMPORT(oracle_known)(SYS, u64 at, u64 physical)
{
}

#endif
