// What members can make us hold or write with files. docs/limits.md lists them; a test keeps the two equal.

/** Longest first message of a file stream, and longest answer to it, in bytes of JSON. */
export const MAX_FILE_MESSAGE_BYTES = 2048
/** Largest file taken, in bytes. */
export const MAX_FILE_BYTES = 1_073_741_824
/** Files one member may be sending us at once. */
export const MAX_FILES_PER_MEMBER = 4
/** Files everybody together may be sending us at once. */
export const MAX_INCOMING_FILES = 32
/** Bytes of the disk that files leave free: identity and database live there too. */
export const MIN_FREE_DISK_BYTES = 268_435_456
/** Files (inodes) that may still be made on the disk below which none is taken: the database makes some, too. */
export const MIN_FREE_DISK_FILES = 256
/** Milliseconds a sender may be silent in the middle of a file; then it is given up. */
export const MAX_FILE_SILENCE_MS = 60_000
/** Longest name a file gets, in bytes of UTF-8: file systems take 255, and a number may come in. */
export const MAX_FILE_NAME_BYTES = 200
/** Files of one name in the folder: the last one is called `name (1000)`. */
export const MAX_SAME_NAME = 1000
