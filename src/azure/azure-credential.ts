import { ManagedIdentityCredential } from '@azure/identity';

/** The identity that the template gave this machine. It comes from the metadata service; nothing is stored. */
export function machineCredential(clientId: string): ManagedIdentityCredential {
  return new ManagedIdentityCredential({ clientId });
}
