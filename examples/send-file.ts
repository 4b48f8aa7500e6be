// A file over a raw byte stream: Node's own streams at both ends, and an answer that says the file is there.
//
//   node examples/send-file.ts
//
// With Muster as a dependency, import from 'muster'.
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type ByteStream, type Group, isMusterError, nodeStream, testnet } from '../src/index.ts'

/** Takes one file on each stream; what is not there at the end of the stream is not the file. */
function receive(group: Group, path: string): void {
  group.onStream('file', async stream => {
    const duplex = nodeStream(stream)
    await pipeline(duplex, createWriteStream(path)) // throws when the sender is cut off: then the stream is aborted
    duplex.end(await sha256Of(path)) // ends our half: the answer
  })
}

async function send(stream: ByteStream, path: string): Promise<string> {
  const duplex = nodeStream(stream)
  const answer: Buffer[] = []
  duplex.on('data', piece => answer.push(piece))
  const answered = new Promise((resolve, reject) => duplex.once('end', resolve).once('error', reject))
  await pipeline(createReadStream(path), duplex) // ends our half; reads no faster than the other side takes
  await answered
  return Buffer.concat(answer).toString()
}

async function sha256Of(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
}

const folder = await mkdtemp(join(tmpdir(), 'muster-example-'))
const [original, copy] = [join(folder, 'original'), join(folder, 'copy')]
await writeFile(original, Buffer.alloc(20_000_000, 'twenty million bytes of this. '))

await using network = await testnet()
const [ana, ben] = [await network.createPeer({ name: 'ana' }), await network.createPeer({ name: 'ben' })]
const [here, there] = [await ana.join('files'), await ben.join('files')]
receive(there, copy)
while (here.members().length === 0) await new Promise<void>(resolve => here.on('member', () => resolve()))

const answer = await send(await here.openStream(ben.peerId, 'file'), original)
console.log(`sent ${(await stat(copy)).size} bytes`)
console.log(answer === (await sha256Of(original)) ? 'the same at both ends' : 'something else arrived')
await here.openStream(ben.peerId, 'music').catch(error => console.log(isMusterError(error) && error.code))
await rm(folder, { recursive: true })
