/** What the reviewed services file lets a service do; the command line is a client of its own that people run themselves. */
import type { Ca } from './ca.ts';
import { CaError } from './error.ts';
import { COMMAND_LINE_CLIENT } from './oauth-client.ts';
import type { Service } from './services-configuration.ts';

export type ServiceRight = Service['may'][number];

/** Throws CaError `service-refused` when the service may not do this for anybody. */
export function refuseService(ca: Ca, service: string, right: ServiceRight): void {
  const refusal = serviceRefusal(ca, service, right);
  if (refusal !== undefined) throw refusal;
}

/** The same of a service alone: the command line, which people run themselves, is none. */
export function requireServiceWith(ca: Ca, service: string, right: ServiceRight): void {
  if (service === COMMAND_LINE_CLIENT)
    throw new CaError('service-refused', 'the command line may not do this: it is for services');
  refuseService(ca, service, right);
}

/** The refusal that {@link refuseService} throws, if any. */
export function serviceRefusal(ca: Ca, service: string, right: ServiceRight): CaError | undefined {
  const isOwnProgram = service === COMMAND_LINE_CLIENT && right !== 'github-token';
  if (isOwnProgram || ca.services.get(service)?.may.includes(right) === true) return undefined;
  if (service === COMMAND_LINE_CLIENT)
    return new CaError(
      'service-refused',
      "the command line is given nobody's GitHub token: ask a broker for a run",
    );
  return new CaError(
    'service-refused',
    `the service ${service} may not do this: its entry in the services file lacks "${right}"`,
  );
}
