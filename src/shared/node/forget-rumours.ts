import type { Libp2p, PeerId } from '@libp2p/interface'
import type { GuardedRows } from './dht-rows.ts'
import { MAX_KNOWN_PEERS } from './limits.ts'

/** How many peers may be new before they are counted again: counting reads the whole peer store. */
const CHECK_EVERY = MAX_KNOWN_PEERS / 10

/**
 * Keeps the peer store bounded. Its entries never age (T2), so a stranger who makes up peers would grow it for ever:
 * above {@link MAX_KNOWN_PEERS} those go that were only heard of, i.e. are neither connected, nor in the routing table
 * (kad-dht tags these), nor providers of something we hold.
 */
export function forgetRumours(libp2p: Libp2p, rows: GuardedRows, onFailure: (thrown: unknown) => void): void {
  let isNew = 0
  let isRunning = false
  libp2p.addEventListener('peer:discovery', () => {
    if (++isNew < CHECK_EVERY || isRunning) return
    isNew = 0
    isRunning = true
    void prune(libp2p, rows)
      .catch(onFailure)
      .finally(() => {
        isRunning = false
      })
  })
}

/** Removes mere rumours when there are more than `max` peers; resolves with how many went. */
export async function prune(
  libp2p: Libp2p,
  rows: Pick<GuardedRows, 'isProvider'>,
  max = MAX_KNOWN_PEERS
): Promise<number> {
  const peers = await libp2p.peerStore.all()
  const surplus = peers.length - max
  if (surplus <= 0) return 0
  const isRumour = ({ id, tags }: { id: PeerId; tags: ReadonlyMap<string, unknown> }): boolean =>
    tags.size === 0 &&
    !id.equals(libp2p.peerId) &&
    libp2p.getConnections(id).length === 0 &&
    !rows.isProvider(id.toString())
  const rumours = peers.filter(isRumour)
  for (const { id } of rumours) await libp2p.peerStore.delete(id)
  return rumours.length
}
