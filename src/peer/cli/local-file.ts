import { createHmac, timingSafeEqual } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { MusterError } from '../../shared/core/errors.ts'
import type { Json } from '../api.ts'
import { MAX_LOCAL_FILE_BYTES } from './local-limits.ts'

/** In the data folder of a node that runs: where its local API is, and what opens it. */
const LOCAL_FILE = 'local-api.json'

export interface LocalPlace {
  /** `http://127.0.0.1:port` */
  readonly url: string
  /** Whoever can read the file is its user, and may do what the local API offers. */
  readonly token: string
  readonly pid: number
  /** The network the node is part of. */
  readonly network: string
}

/** Puts the file there for its owner alone, whole or not at all; it replaces one that a crash left behind. */
export async function writeLocalPlace(folder: string, place: LocalPlace): Promise<void> {
  const file = join(folder, LOCAL_FILE)
  const draft = `${file}.new`
  try {
    await rm(draft, { force: true })
    {
      await using handle = await open(draft, 'wx', 0o600)
      await handle.writeFile(`${JSON.stringify(place)}\n`)
    }
    await rename(draft, file)
  } catch (cause) {
    throw new MusterError('data-not-writable', `${file} cannot be written`, { cause })
  }
}

export async function removeLocalPlace(folder: string): Promise<void> {
  await rm(join(folder, LOCAL_FILE), { force: true })
}

/** What a data folder says about a node that runs, or ran: it may be gone. Undefined where there is nothing readable. */
export async function readLocalPlace(folder: string): Promise<LocalPlace | undefined> {
  try {
    const text = await readFile(join(folder, LOCAL_FILE), 'utf8')
    if (text.length > MAX_LOCAL_FILE_BYTES) return undefined
    const { url, token, pid, network } = JSON.parse(text) as { readonly [key: string]: Json }
    if (typeof url !== 'string' || !/^http:\/\/127\.0\.0\.1:\d{1,5}$/.test(url)) return undefined
    if (typeof token !== 'string' || typeof pid !== 'number' || typeof network !== 'string') return undefined
    return { url, token, pid, network }
  } catch {
    return undefined // none, or not ours to read, or no such file: nobody runs there as far as we can tell
  }
}

/** What only a holder of the token can say about a nonce: another process may have taken the port of a node that is gone. */
export function proofOf(token: string, nonce: string): string {
  return createHmac('sha256', token).update(`muster local api\n${nonce}`).digest('hex')
}

/** Compares without telling by its time where the difference is. */
export function isSameSecret(one: string, other: string): boolean {
  const [a, b] = [one, other].map(each => createHmac('sha256', 'same length').update(each).digest())
  return a !== undefined && b !== undefined && timingSafeEqual(a, b)
}
