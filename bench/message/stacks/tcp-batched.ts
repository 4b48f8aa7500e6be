import { stackOf } from '../pipe.ts'
import { carrier } from './tcp.ts'

/** What one write per message costs: the same with 64 messages in each write. */
export const stack = stackOf({ ...carrier, batch: 64 })
