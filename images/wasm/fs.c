// SPDX-License-Identifier: MIT OR Apache-2.0
/* Imports: paths and mounts. */
#include <dirent.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sys.h"

u32 IMPORT(is_there)(SYS, u32 path)
{
	struct stat ignored;

	return lstat(guest_text(sys, path), &ignored) == 0;
}

u64 IMPORT(list_dir)(SYS, u32 path, u32 into, u32 room)
{
	struct texts names = { .into = guest_bytes(sys, into, room), .room = room };
	DIR *dir = opendir(guest_text(sys, path));
	struct dirent *entry;
	int error;

	if (!dir)
		return answer(-1);
	errno = 0;
	while ((entry = readdir(dir)))
		texts_add(&names, entry->d_name);
	error = errno;
	closedir(dir);
	if (error)
		return -(s64)error;
	return names.len;
}

u64 IMPORT(mkdir)(SYS, u32 path, u32 mode)
{
	return answer(mkdir(guest_text(sys, path), mode));
}

u64 IMPORT(unlink)(SYS, u32 path)
{
	return answer(unlink(guest_text(sys, path)));
}

u64 IMPORT(rmdir)(SYS, u32 path)
{
	return answer(rmdir(guest_text(sys, path)));
}

u64 IMPORT(make_char_device)(SYS, u32 path, u32 mode, u32 major, u32 minor)
{
	return answer(mknod(guest_text(sys, path), S_IFCHR | mode, makedev(major, minor)));
}

u64 IMPORT(mount)(SYS, u32 source, u32 at, u32 kind, u32 flags, u32 data)
{
	return answer(mount(guest_text(sys, source), guest_text(sys, at), guest_text(sys, kind), flags,
			    guest_text(sys, data)));
}

u64 IMPORT(unmount)(SYS, u32 at)
{
	return answer(umount2(guest_text(sys, at), MNT_DETACH));
}

u64 IMPORT(memfd)(SYS, u32 name)
{
	return answer(memfd_create(guest_text(sys, name), MFD_CLOEXEC));
}
