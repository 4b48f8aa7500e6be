import { MusterError } from '../shared/core/errors.ts'
import type { SendOptions } from './api.ts'

/** Longest time a send may wait for a member that is away. */
export const MAX_WAIT_MS = 60_000

/** @throws MusterError `options-invalid` for a time that is none. */
export function checkTimes({ timeoutMs = 1, waitMs = 0 }: Pick<SendOptions, 'timeoutMs' | 'waitMs'>): void {
  if (!(timeoutMs > 0)) throw new MusterError('options-invalid', `timeoutMs is ${timeoutMs}; it must be positive`)
  if (waitMs >= 0 && waitMs <= MAX_WAIT_MS) return
  throw new MusterError('options-invalid', `waitMs is ${waitMs}; it must be 0 to ${MAX_WAIT_MS}`)
}
