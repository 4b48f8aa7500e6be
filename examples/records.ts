// Values that outlive the peer that wrote them: names of one's own, names for all, and values under their own hash.
//
//   node examples/records.ts
//
// With Muster as a dependency, import from 'muster'.
import { createPeer, isMusterError, type RecordVersion, testnet } from '../src/index.ts'

await using network = await testnet()
const ana = await network.createPeer({ name: 'ana' })
const ben = await network.createPeer({ name: 'ben' })

// A name anybody may write: the newest version counts, whoever signed it.
await ana.records.put('menu', { soup: 'pea' })
await ben.records.put('menu', { soup: 'leek' })
const menu = await ana.records.get('menu')
console.log('menu:', menu?.value, menu?.author === ben.peerId ? 'by ben' : 'by somebody else')

// A name of ana's own. Others read it with her id, and cannot write it.
const { stored } = await ana.records.put({ name: 'status' }, 'cooking', { validityMs: 3_600_000 })
console.log('status:', stored > 0 && 'stored by others') // 20 of them in a large network, one or two in this one
const status = { owner: ana.peerId, name: 'status' }
await ben.records.put(status, 'asleep').catch(error => console.log('status:', isMusterError(error) && error.code))

// Ben watches it: what is there, each newer version, and that it was deleted.
const stop = new AbortController()
const next = ben.records.watch(status, { signal: stop.signal })[Symbol.asyncIterator]()
const print = async (): Promise<void> => {
  const { value }: { value?: RecordVersion } = await next.next()
  console.log('ben sees:', value?.value ?? 'nothing any more')
}
await print()
await ana.records.put({ name: 'status' }, 'eating')
await print()
await ana.records.delete({ name: 'status' })
await print()
stop.abort()

// Without a name the key is the hash of the value: nobody can change it, and nobody has to be believed.
const { key } = await ana.records.put(null, new TextEncoder().encode('a recipe'))
await ana.close()
const recipe = await ben.records.get(key)
console.log('recipe:', new TextDecoder().decode(recipe?.value as Uint8Array))

// Somebody who comes after ana has gone finds what she wrote.
await using eva = await createPeer({ bootstrap: network.addresses, memory: true })
console.log('eva:', (await eva.records.get(key)) === undefined ? 'no recipe' : 'has the recipe, too')
console.log('status:', (await eva.records.get(status))?.value ?? 'deleted for everybody')
