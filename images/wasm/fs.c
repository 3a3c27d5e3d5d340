// SPDX-License-Identifier: MIT OR Apache-2.0
/* Imports: paths and mounts. */
#include <dirent.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys.h"

u32 IMPORT(exists)(SYS, u32 path)
{
	struct stat ignored;

	return lstat(guest_string(sys, path), &ignored) == 0;
}

u64 IMPORT(list_dir)(SYS, u32 path, u32 into, u32 room)
{
	struct strings names = { .into = guest_bytes(sys, into, room), .room = room };
	DIR *dir = opendir(guest_string(sys, path));
	struct dirent *entry;
	int error;

	if (!dir)
		return guest_result(-1);
	errno = 0;
	while ((entry = readdir(dir)))
		strings_add(&names, entry->d_name);
	error = errno;
	closedir(dir);
	if (error)
		return -(s64)error;
	return names.len;
}

u64 IMPORT(mkdir)(SYS, u32 path, u32 mode)
{
	return guest_result(mkdir(guest_string(sys, path), mode));
}

u64 IMPORT(rmdir)(SYS, u32 path)
{
	return guest_result(rmdir(guest_string(sys, path)));
}

u64 IMPORT(mount)(SYS, u32 source, u32 at, u32 kind, u32 flags, u32 data)
{
	return guest_result(mount(guest_string(sys, source), guest_string(sys, at), guest_string(sys, kind), flags,
			    guest_string(sys, data)));
}

u64 IMPORT(unmount)(SYS, u32 at)
{
	return guest_result(umount2(guest_string(sys, at), MNT_DETACH));
}

u64 IMPORT(memfd)(SYS, u32 name)
{
	return guest_result(memfd_create(guest_string(sys, name), MFD_CLOEXEC));
}
