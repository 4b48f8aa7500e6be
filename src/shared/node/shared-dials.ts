import { type Connection, isPeerId, type PeerId } from '@libp2p/interface'
import type { ConnectionManager } from '@libp2p/interface-internal'
import { isOpen } from './muxer.ts'
import { withOverrides } from './overrides.ts'

/**
 * The connection manager as libp2p's services and kad-dht see it: who dials a peer, dials it through `dial`. libp2p's own
 * queue knows nothing of our dials, and two dials of one peer cost two handshakes and leave two connections.
 */
export function sharedDials(
  manager: ConnectionManager,
  dial: (peerId: PeerId, signal: AbortSignal | undefined) => Promise<Connection>
): ConnectionManager {
  const shared: ConnectionManager = withOverrides(manager, {
    async openConnection(target, options = {}) {
      const isOurs = isPeerId(target) && options.force !== true && !manager.getConnections(target).some(isOpen)
      return isOurs ? await dial(target, options.signal) : await manager.openConnection(target, options)
    },
    async openStream(target, protocol, options = {}) {
      const connection = await shared.openConnection(target, options)
      return await connection.newStream(protocol, options)
    }
  })
  return shared
}
