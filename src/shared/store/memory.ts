import { MemoryDatastore } from 'datastore-core/memory'
import type { Datastore, Key } from 'interface-datastore'
import { Scope } from '../core/lifecycle.ts'
import type { Store } from './port.ts'

/** A store that is gone with the process. */
export function memoryStore(): Store {
  const scope = new Scope()
  const tables = new Map<string, Datastore>()
  return {
    datastore: new RejectingDatastore() as Datastore,
    async openTable(name) {
      const datastore = tables.get(name) ?? (new RejectingDatastore() as Datastore)
      tables.set(name, datastore)
      return { datastore }
    },
    path: undefined,
    failure: new Promise(() => undefined),
    signal: scope.signal,
    bytes: async () => 0,
    close: () => scope.close(),
    [Symbol.asyncDispose]: () => scope.close()
  }
}

/** `MemoryDatastore.get` throws at once where others reject, and so slips past a `.catch()`. */
class RejectingDatastore extends MemoryDatastore {
  override async get(...args: Parameters<MemoryDatastore['get']>): Promise<Uint8Array> {
    return await super.get(...args)
  }

  override async put(key: Key, ...rest: [Uint8Array]): Promise<Key> {
    return await super.put(key, ...rest)
  }

  override async has(...args: Parameters<MemoryDatastore['has']>): Promise<boolean> {
    return await super.has(...args)
  }

  override async delete(...args: Parameters<MemoryDatastore['delete']>): Promise<void> {
    await super.delete(...args)
  }
}
