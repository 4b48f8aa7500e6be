import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Kind } from './job.ts'

/** One line of the result. */
export interface Contestant {
  readonly name: string
  /** What is measured, in a few words. */
  readonly about: string
  /** The file whose `stack` is run at both ends. */
  readonly module: string
  /** The file Muster is loaded from. */
  readonly entry?: string
  /** The jobs it is run for; all if not set. */
  readonly kinds?: readonly Kind[]
  /** Times the usual work, for what would be over before it can be measured. */
  readonly factor?: Partial<Record<Kind, number>>
}

const stack = (name: string) => fileURLToPath(new URL(`./stacks/${name}.ts`, import.meta.url))
const DIST = fileURLToPath(new URL('../../dist/index.js', import.meta.url))
const SOURCE = fileURLToPath(new URL('../../src/index.ts', import.meta.url))
export const isBuilt = existsSync(DIST)
const BUILT = isBuilt ? DIST : SOURCE

/** From what the operating system offers to what Muster offers. */
export const CONTESTANTS: readonly Contestant[] = [
  { name: 'tcp', about: 'node:net, a length in front of each message, a write for each', module: stack('tcp') },
  {
    name: 'tcp-batched',
    about: 'the same, 64 messages in each write: an upper bound',
    module: stack('tcp-batched'),
    kinds: ['one way'],
    factor: { 'one way': 20 }
  },
  { name: 'hyperswarm', about: 'a connection of two Hyperswarms, a write for each', module: stack('hyperswarm') },
  { name: 'libp2p', about: 'stock tcp, noise, yamux; one stream, a send for each', module: stack('libp2p') },
  { name: 'muster', about: 'ask; send with its receipt', module: stack('muster'), entry: BUILT },
  {
    name: 'muster-send',
    about: 'a send there and a send back',
    module: stack('muster-send'),
    entry: BUILT,
    kinds: ['round trip', 'in flight']
  },
  { name: 'muster-stream', about: 'openStream, a write for each', module: stack('muster-stream'), entry: BUILT },
  { name: 'muster-channel', about: 'the Node port alone, from src/', module: stack('muster-channel') },
  { name: 'muster-source', about: 'muster from src/', module: stack('muster'), entry: SOURCE }
]

/** What runs when nobody says: the sources are the same code a second time when they are built. */
export const USUAL: readonly string[] = CONTESTANTS.map(({ name }) => name).filter(name => name !== 'muster-source')
