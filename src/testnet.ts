import { type Bootstrap, createBootstrap } from './bootstrap/bootstrap.ts'
import type { Peer } from './peer/api.ts'
import { createPeer, type PeerOptions } from './peer/peer.ts'
import { build, type Closable } from './shared/core/lifecycle.ts'

/** A whole network inside this process, on loopback, in memory: for tests of programs that use Muster. */
export interface Testnet extends Closable {
  readonly bootstraps: readonly Bootstrap[]
  /** What a peer's `bootstrap` option takes. */
  readonly addresses: string[]
  /** A peer of this network; closed with it. */
  createPeer(options?: PeerOptions): Promise<Peer>
}

/** Starts `count` bootstraps that know each other, on free ports. */
export async function testnet(count = 1): Promise<Testnet> {
  return await build(async scope => {
    const bootstraps: Bootstrap[] = []
    for (let i = 0; i < count; i++) {
      const bootstrap = bootstraps.flatMap(each => each.addresses.slice(0, 1))
      bootstraps.push(scope.own(await createBootstrap({ memory: true, listen: '127.0.0.1:0', http: 'off', bootstrap })))
    }
    const addresses = bootstraps.flatMap(each => each.addresses.slice(0, 1))
    return {
      bootstraps,
      addresses,
      createPeer: async options =>
        scope.own(await createPeer({ memory: true, listen: '127.0.0.1:0', bootstrap: addresses, ...options })),
      signal: scope.signal,
      close: () => scope.close(),
      [Symbol.asyncDispose]: () => scope.close()
    }
  })
}
