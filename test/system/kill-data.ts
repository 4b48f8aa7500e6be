import { cp } from 'node:fs/promises'
import { base32 } from 'multiformats/bases/base32'
import { CID } from 'multiformats/cid'
import type { Log } from '../../src/shared/core/log.ts'
import { silentLog } from '../../src/shared/core/log.ts'
import type { Topic } from '../../src/shared/core/topic.ts'
import { identityFrom, unseal } from '../../src/shared/node/keys.ts'
import { peekRecord, RECORD_DOMAIN } from '../../src/shared/roster/record.ts'
import { loadIdentity } from '../../src/shared/store/identity.server.ts'
import { openStore } from '../../src/shared/store/level.server.ts'
import type { SeenMember, SeenProvider } from './kill-history.ts'

export interface DataFolder {
  readonly peerId: string
  readonly members: readonly SeenMember[]
  readonly providers: readonly SeenProvider[]
  /** The last write was cut off in the middle; nobody had been told of it. */
  readonly isTorn: boolean
}

/**
 * What a dead bootstrap's data folder holds. Reads a copy at `copy`: opening a database recovers it, and the first to do
 * that shall be the bootstrap itself.
 */
export async function readDataFolder(folder: string, copy: string, topics: readonly Topic[]): Promise<DataFolder> {
  await cp(folder, copy, { recursive: true })
  let isTorn = false
  const log: Log = {
    ...silentLog,
    warn: () => {
      isTorn = true
    }
  }
  await using store = await openStore(copy, { log })
  const generate = (): never => {
    throw new Error('the data folder holds no identity')
  }
  const { peerId } = identityFrom(await loadIdentity(copy, { generate, check: identityFrom }))
  const members: SeenMember[] = []
  for await (const { value } of store.datastore.query({ prefix: '/muster/roster/' })) {
    await unseal(RECORD_DOMAIN, value)
    const { topicId, peerId: member, sequence, left } = peekRecord(value)
    members.push({ topic: topicId, peerId: member, sequence, left })
  }
  const names = new Map(topics.map(topic => [base32.baseEncode(CID.decode(topic.key).multihash.bytes), topic.id]))
  const providers: SeenProvider[] = []
  for await (const { key } of store.datastore.query({ prefix: '/dht/provider/' })) {
    const [, , , hash = '', provider = ''] = key.toString().split('/')
    providers.push({ topic: names.get(hash) ?? hash, peerId: provider })
  }
  return { peerId, members, providers, isTorn }
}
