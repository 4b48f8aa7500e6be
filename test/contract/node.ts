import { after, before, describe } from 'node:test'
import { channelContract } from './node-channels.ts'
import { connectionContract } from './node-connections.ts'
import { dhtContract } from './node-dht.ts'
import { gossipContract } from './node-gossip.ts'
import type { NodeHarness } from './node-words.ts'

export type { NodeHarness } from './node-words.ts'

/** What every implementation of the Node port must do. `make` is called for each test. */
export function nodeContract(name: string, make: () => Promise<NodeHarness>): void {
  describe(`node contract: ${name}`, () => {
    let keepAlive: NodeJS.Timeout
    before(() => {
      keepAlive = setInterval(() => undefined, 1_000) // deadlines alone do not keep the process running
    })
    after(() => clearInterval(keepAlive))

    connectionContract(make)
    channelContract(make)
    dhtContract(make)
    gossipContract(make)
  })
}
