import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type Carrier, drainingPipe, type Pipe, stackOf } from '../pipe.ts'

function pipeOf(socket: Socket): Pipe {
  socket.setNoDelay(true)
  socket.on('error', () => undefined)
  return drainingPipe(
    bytes => socket.write(bytes),
    then => socket.once('drain', then)
  )
}

/** `node:net`: no encryption, no identities, one stream. */
export const carrier: Carrier = {
  keepsMessages: false,
  async listen(accept) {
    const server = createServer(socket => socket.on('data', accept(pipeOf(socket))))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return String((server.address() as AddressInfo).port)
  },
  async dial(port, receive) {
    const socket = connect(Number(port), '127.0.0.1')
    await once(socket, 'connect')
    socket.on('data', receive)
    return pipeOf(socket)
  }
}

export const stack = stackOf(carrier)
