/** A port, of loopback unless said otherwise, that nobody listens on, for a server that must know its address before it starts. */
import { type AddressInfo, createServer } from 'node:net';

export async function freePort(address = '127.0.0.1'): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject).listen(0, address, resolve);
  });
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
