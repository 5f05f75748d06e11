import { ComputeManagementClient } from '@azure/arm-compute';
import type { Config } from '../config/options.ts';
import { machineCredential } from './azure-credential.ts';

/** Azure's control plane, with the rights of this machine. */
export function createComputeClient(azure: Config['azure']): ComputeManagementClient {
  const endpoint = azure.arm_endpoint.replace(/\/$/, '');
  return new ComputeManagementClient(machineCredential(azure.client_id), azure.subscription_id, { endpoint });
}
