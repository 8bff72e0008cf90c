/*
 * A disk that fails, for infra/e2e/store-faults.test.ts: preloaded into the CA, it lets calls on the store's files fail
 * with EIO while the file that STORE_FAULT names says which: "write" or "sync".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd, const char *what)
{
  const char *control = getenv("STORE_FAULT");
  char said[16] = {0}, link[64], path[4096];
  int file = control == NULL ? -1 : open(control, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return 0;
  ssize_t length = read(file, said, sizeof said - 1);
  close(file);
  if (length <= 0 || strncmp(said, what, strlen(what)) != 0)
    return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  length = readlink(link, path, sizeof path - 1);
  if (length < 0)
    return 0;
  path[length] = 0;
  if (strstr(path, "/ca.db") == NULL)
    return 0;
  errno = EIO;
  return 1;
}

int fsync(int fd)
{
  int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  return fails(fd, "sync") ? -1 : next(fd);
}

int fdatasync(int fd)
{
  int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  return fails(fd, "sync") ? -1 : next(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at)
{
  ssize_t (*next)(int, const void *, size_t, off64_t) =
    (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
  return fails(fd, "write") ? -1 : next(fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at)
{
  ssize_t (*next)(int, const void *, size_t, off_t) =
    (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
  return fails(fd, "write") ? -1 : next(fd, bytes, count, at);
}

ssize_t write(int fd, const void *bytes, size_t count)
{
  ssize_t (*next)(int, const void *, size_t) =
    (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
  return fails(fd, "write") ? -1 : next(fd, bytes, count);
}
