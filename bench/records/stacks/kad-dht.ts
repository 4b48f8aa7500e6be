import { randomBytes } from 'node:crypto'
import { type KadNode, settleKadNodes, startKadNode } from '../../common/kad-node.ts'
import { checkValue, measure } from '../measure.ts'
import { type Entry, observed, type Stack } from './stack.ts'

/** Longest time for one operation; see measure.ts. */
const OPERATION_MS = 10_000

const nodes: KadNode[] = []
let requests = 0
let isSettled = false

/** The first segment of a key names who judges the values: here all are good, and the first is the best. */
const start = (host: string, bootstrap: string | undefined) =>
  startKadNode(host, bootstrap, {
    protocol: '/records/kad/1.0.0',
    validators: { bench: async () => undefined },
    selectors: { bench: () => 0 }
  })

const last = (): KadNode['node'] => (nodes.at(-1) as KadNode).node

interface Progress {
  readonly type: string
  readonly detail: unknown
}

/** Counts what a query sends, and who took a value. */
function counting(): { readonly options: object; readonly stored: () => number } {
  let stored = 0
  const onProgress = ({ type, detail }: Progress): void => {
    if (type === 'kad-dht:query:send-query') requests++
    if (type === 'kad-dht:query:peer-response') {
      if ((detail as { messageName: string }).messageName === 'PUT_VALUE') stored++
    }
  }
  return { options: { onProgress, signal: AbortSignal.timeout(OPERATION_MS) }, stored: () => stored }
}

export const stack: Stack = {
  async nodes(count, host, bootstrap) {
    let known = bootstrap
    for (let i = 0; i < count; i++) {
      const started = await start(host, known)
      known ??= started.node.getMultiaddrs()[0]?.toString()
      nodes.push(started)
    }
    return nodes[0]?.node.getMultiaddrs()[0]?.toString() ?? ''
  },
  async settle() {
    if (!isSettled) await settleKadNodes(nodes)
    isSettled = true
    for (const { node } of nodes) {
      const found = node.services.dht.getClosestPeers(randomBytes(32), { signal: AbortSignal.timeout(OPERATION_MS) })
      try {
        for await (const _ of found);
      } catch {
        // one look-up that finds nobody is no reason to stop: it is looked again
      }
    }
  },
  async tables() {
    return nodes.map(({ node }) => {
      const { routingTable } = node.services.dht as unknown as { routingTable: { readonly size: number } }
      return routingTable.size
    })
  },
  async put(_kind, values) {
    const entries: Entry[] = values.map(value => ({
      key: new TextEncoder().encode(`/bench/${randomBytes(16).toString('hex')}`),
      value
    }))
    const spent = await measure(
      values.length,
      () => requests,
      async i => {
        const { key, value } = entries[i] as Entry
        const { options, stored } = counting()
        await last().contentRouting.put(key as Uint8Array, value, options)
        if (stored() === 0) throw new Error('nobody stored it')
        return stored()
      }
    )
    return { ...spent, entries }
  },
  async get(_kind, entries) {
    const read = async (i: number): Promise<number> => {
      const { key, value } = entries[i] as Entry
      checkValue(await last().contentRouting.get(key as Uint8Array, counting().options), value)
      return 0
    }
    return await measure(entries.length, () => requests, read)
  },
  ...observed
}
