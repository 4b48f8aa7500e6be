import { randomBytes } from 'node:crypto'
import HyperDHT, { type KeyPair } from 'hyperdht'
import { checkValue, measure } from '../measure.ts'
import { type Entry, observed, type Stack } from './stack.ts'

const nodes: HyperDHT[] = []
const last = (): HyperDHT => nodes.at(-1) as HyperDHT
const requests = (): number => last().stats.requests.total

export const stack: Stack = {
  async nodes(count, host, bootstrap) {
    const [name = '', port] = (bootstrap ?? '').split(':')
    let known = bootstrap === undefined ? [] : [{ host: name, port: Number(port) }]
    for (let i = 0; i < count; i++) {
      // As its own testnet does.
      const node = new HyperDHT({ ephemeral: false, firewalled: false, bootstrap: known, host })
      await node.fullyBootstrapped()
      if (known.length === 0) known = [{ host, port: node.address().port }]
      nodes.push(node)
    }
    return `${host}:${nodes[0]?.address().port}`
  },
  async settle() {
    for (const node of nodes) {
      await node.findNode(node.table.id).finished()
      await node.findNode(randomBytes(32)).finished()
    }
  },
  async tables() {
    return nodes.map(({ table }) => table.size)
  },
  async put(kind, values) {
    const keyPairs: KeyPair[] = kind === 'mutable' ? values.map(() => HyperDHT.keyPair()) : []
    const entries: Entry[] = []
    const spent = await measure(values.length, requests, async i => {
      const value = values[i] as Uint8Array
      const keyPair = keyPairs[i]
      if (keyPair === undefined) {
        const { hash, closestNodes } = await last().immutablePut(value)
        entries.push({ key: hash, value })
        return closestNodes.length
      }
      const { closestNodes } = await last().mutablePut(keyPair, value)
      entries.push({ key: keyPair.publicKey, value })
      return closestNodes.length
    })
    return { ...spent, entries }
  },
  async get(kind, entries) {
    const read = async (i: number): Promise<number> => {
      const { key, value } = entries[i] as Entry
      const dht = last()
      const found = await (kind === 'mutable' ? dht.mutableGet(key as Uint8Array) : dht.immutableGet(key as Uint8Array))
      checkValue(found?.value, value)
      return 0
    }
    return await measure(entries.length, requests, read)
  },
  ...observed
}
