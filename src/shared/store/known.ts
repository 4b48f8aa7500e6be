import { type Datastore, Key } from 'interface-datastore'
import type { PeerId } from '../core/address.ts'

/** Most addresses remembered; the one confirmed longest ago makes room. */
export const MAX_KNOWN_ADDRESSES = 1000

const PREFIX = '/muster/known'

/**
 * Trust on first use: which peer answered at an address that was given without a peer id.
 * Addresses are remembered as the text that is passed; the caller decides on one form.
 */
export interface KnownAddresses {
  get(address: string): Promise<PeerId | undefined>
  /** Remembers, or confirms, who is at `address`. */
  remember(address: string, peerId: PeerId): Promise<void>
  /** The way out when an identity has changed for a good reason. */
  forget(address: string): Promise<void>
}

interface Known {
  readonly peerId: PeerId
  /** Counts up with each confirmation: an order that survives wrong clocks. */
  readonly turn: number
}

export function createKnownAddresses(
  datastore: Datastore,
  { max = MAX_KNOWN_ADDRESSES }: { max?: number } = {}
): KnownAddresses {
  /** By address, the one confirmed longest ago first. */
  let loading: Promise<Map<string, Known>> | undefined
  const known = (): Promise<Map<string, Known>> => {
    loading ??= load(datastore).catch(thrown => {
      loading = undefined
      throw thrown
    })
    return loading
  }

  return {
    async get(address) {
      return (await known()).get(address)?.peerId
    },
    async remember(address, peerId) {
      const all = await known()
      const [newest] = [...all].at(-1) ?? []
      if (newest === address && all.get(address)?.peerId === peerId) return
      const turn = newest === undefined ? 0 : all.get(newest)!.turn + 1
      all.delete(address)
      all.set(address, { peerId, turn })
      const batch = datastore.batch()
      batch.put(keyOf(address), new TextEncoder().encode(JSON.stringify({ peerId, turn })))
      for (const oldest of all.keys()) {
        if (all.size <= max) break
        all.delete(oldest)
        batch.delete(keyOf(oldest))
      }
      await batch.commit()
    },
    async forget(address) {
      if ((await known()).delete(address)) await datastore.delete(keyOf(address))
    }
  }
}

/** An address has slashes, and a datastore key normalises them. */
function keyOf(address: string): Key {
  return new Key(`${PREFIX}/${encodeURIComponent(address)}`)
}

async function load(datastore: Datastore): Promise<Map<string, Known>> {
  const rows: Array<[string, Known]> = []
  for await (const { key, value } of datastore.query({ prefix: `${PREFIX}/` })) {
    const row = readRow(key, value)
    if (row === undefined) await datastore.delete(key)
    else rows.push(row)
  }
  return new Map(rows.sort(([, a], [, b]) => a.turn - b.turn))
}

function readRow(key: Key, value: Uint8Array): [string, Known] | undefined {
  try {
    const { peerId, turn } = JSON.parse(new TextDecoder().decode(value)) as Record<string, unknown>
    if (typeof peerId !== 'string' || !Number.isSafeInteger(turn)) return undefined
    return [decodeURIComponent(key.baseNamespace()), { peerId, turn: turn as number }]
  } catch {
    return undefined
  }
}
