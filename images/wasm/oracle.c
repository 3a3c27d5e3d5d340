// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Imports: words to a cache oracle, see suites/sys/src/oracle.rs. The number in the instruction is 1 to open, 2 to
 * close, 3 for what is known. Machines without such words say nothing.
 */
#include "sys.h"

#ifdef __hppa__

/* ldo 0x1a00+n(%r0), %r0: a sum for the register that stays 0 (PA-RISC 1.1 Reference Manual, LOAD OFFSET). */
#define WORD(n) "ldo 0x1a0" #n "(%%r0),%%r0\n\t"
/* 32 bytes of code at a multiple of 32. The assembler fills with zeros, which are no instruction: jump over them. */
#define IN_ONE_PIECE "b,n 1f\n\t.align 32\n1:\t"

void IMPORT(oracle_open)(SYS, u32 id)
{
	u32 place;

	__asm__ volatile(IN_ONE_PIECE
			 "stw %1,0(%2)\n\t"
			 WORD(1)
			 "stw %1,0(%2)"
			 : "=m"(place) : "r"(id), "r"(&place) : "memory");
}

void IMPORT(oracle_close)(SYS)
{
	__asm__ volatile(WORD(2) ::: "memory");
}

void IMPORT(oracle_known)(SYS, u64 at, u64 physical)
{
	/* In these registers for whoever wants to know whether it reads registers rightly. */
	register u32 low __asm__("r26") = at;
	register u32 said_low __asm__("r25") = physical;
	u32 high = at >> 32, said_high = physical >> 32;

	__asm__ volatile(IN_ONE_PIECE
			 "stw %0,0(%4)\n\t"
			 WORD(3)
			 "stw %0,0(%4)\n\t"
			 "stw %1,4(%4)\n\t"
			 "stw %2,8(%4)\n\t"
			 "stw %3,12(%4)"
			 :: "r"(high), "r"(low), "r"(said_high), "r"(said_low), "r"(address(at)) : "memory");
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
