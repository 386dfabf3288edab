<#
.SYNOPSIS
Sets up the whole platform in containers, by docker-compose.yml.

.DESCRIPTION
Checks what is needed, makes .env from .env.example with generated passwords, builds the image, starts everything, and
waits until it is migrated and ready. May be run again at any time: an .env that is there is kept, and only what it lacks
is added. docs/howto/run_with_compose.md tells the rest.

The environment variable SSPP_COMPOSE names the compose command, if it is not `docker compose` or `podman-compose`.

Exit status: 0 it runs, 1 something is missing or failed.

.PARAMETER EnvOnly
Make .env and stop there.

.PARAMETER Service
Start only these and what they need, `api` among them.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File infrastructure\scripts\setup.ps1
#>
[CmdletBinding()]
param([switch]$EnvOnly, [Parameter(ValueFromRemainingArguments)][string[]]$Service = @())

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$WaitSeconds = 300

function Stop-Setup([string[]]$Lines) {
    [Console]::Error.WriteLine("setup: " + ($Lines -join [Environment]::NewLine + '  '))
    exit 1
}

# 32 random bytes as 64 hexadecimal digits: nothing in them needs quoting or encoding anywhere.
function New-Password {
    $bytes = New-Object byte[] 32
    $generator = [Security.Cryptography.RandomNumberGenerator]::Create()
    try { $generator.GetBytes($bytes) } finally { $generator.Dispose() }
    return [BitConverter]::ToString($bytes).Replace('-', '').ToLowerInvariant()
}

# A template's lines, with a password after each `..._PASSWORD=` that has none. docker-compose.yml makes the URLs itself:
# those of the example are commented out.
function Complete-Lines([string[]]$Lines) {
    foreach ($line in $Lines) {
        if ($line -cmatch '^[A-Z0-9_]+_PASSWORD=$') { $line + (New-Password) }
        elseif ($line -cmatch '^(DATABASE|REDIS|RQ_REDIS)_URL=.*:password@' -or
            $line -ceq 'ELASTICSEARCH_URL=http://127.0.0.1:9200') { '#' + $line }
        else { $line }
    }
}

# Readable by its owner alone, as far as the system knows how to: on Windows without what the folder would hand on.
function Protect-File([string]$Path) {
    if ([IO.Path]::DirectorySeparatorChar -eq '/') {
        & chmod 600 $Path
        return
    }
    $user = [Security.Principal.WindowsIdentity]::GetCurrent().User
    $rights = New-Object Security.AccessControl.FileSecurity
    $rights.SetAccessRuleProtection($true, $false)
    $rights.AddAccessRule((New-Object Security.AccessControl.FileSystemAccessRule($user, 'FullControl', 'Allow')))
    Set-Acl -Path $Path -AclObject $rights
}

function New-Environment {
    $template = [IO.File]::ReadAllLines((Join-Path $PWD '.env.example'))
    $path = Join-Path $PWD '.env'
    if (Test-Path $path) {
        $old = [IO.File]::ReadAllLines($path)
        # A newer release may have more passwords.
        $missing = @($template | Where-Object {
                $_ -cmatch '^[A-Z0-9_]+_PASSWORD=$' -and -not ($old -cmatch ('^' + $_)) })
        $new = @(Complete-Lines ($old + $missing))
        if (($new -join "`n") -ceq ($old -join "`n")) {
            Write-Host '.env is complete, and stays as it is'
            return
        }
        Write-Host 'added to .env what it lacked'
    }
    else {
        $new = @(Complete-Lines $template)
        Write-Host 'made .env, readable by you alone; keep a copy of it where you keep passwords'
    }
    # Protected before anything is in it, and in place at once. Without a byte order mark, which compose would take for text.
    $draft = "$path.$PID"
    [IO.File]::WriteAllText($draft, '')
    try {
        Protect-File $draft
        [IO.File]::WriteAllText($draft, ($new -join "`n") + "`n", (New-Object Text.UTF8Encoding($false)))
        Move-Item -Force $draft $path
    }
    finally {
        if (Test-Path $draft) { Remove-Item $draft }
    }
}

function Test-Command([string[]]$Words) {
    # What a command says on stderr would else end this script in Windows PowerShell.
    $ErrorActionPreference = 'Continue'
    try { & $Words[0] @($Words | Select-Object -Skip 1) 2>&1 | Out-Null } catch { return $false }
    return $LASTEXITCODE -eq 0
}

function Find-Compose {
    if ($env:SSPP_COMPOSE) {
        $words = @($env:SSPP_COMPOSE -split ' +')
        if (-not (Test-Command ($words + 'version'))) { Stop-Setup "SSPP_COMPOSE=$env:SSPP_COMPOSE does not run" }
        return $words
    }
    if (Test-Command @('docker', 'compose', 'version')) {
        if (-not (Test-Command @('docker', 'info'))) { Stop-Setup 'Docker does not answer.', 'Start it, and run this again.' }
        return @('docker', 'compose')
    }
    if (Test-Command @('podman-compose', 'version')) { return @('podman-compose') }
    Stop-Setup 'neither `docker compose` nor podman-compose is here.',
    'Install Docker with its Compose plugin (2.20 or newer), or podman 4.6 or newer with podman-compose.',
    'Without containers: make up, in WSL'
}

# What compose takes a variable for: the environment comes before .env, and that before docker-compose.yml's default.
function Get-Value([string]$Name, [string]$Default) {
    $given = [Environment]::GetEnvironmentVariable($Name)
    if ($given) { return $given }
    $found = @([IO.File]::ReadAllLines((Join-Path $PWD '.env')) -cmatch "^$Name=.")
    if ($found.Count -eq 0) { return $Default }
    return $found[-1].Substring($Name.Length + 1)
}

function Wait-UntilReady([string]$Url) {
    Write-Host "waiting until $Url/readyz says ready, at most $WaitSeconds seconds"
    $deadline = (Get-Date).AddSeconds($WaitSeconds)
    $answer = ''
    while ((Get-Date) -lt $deadline) {
        try {
            $answer = (Invoke-WebRequest -UseBasicParsing -TimeoutSec 5 -Uri "$Url/readyz").Content
            if ($answer -match '"status":"ready"') { return }
        }
        # A 503 has a body too, which names the store that is away.
        catch { $answer = if ($_.ErrorDetails) { $_.ErrorDetails.Message } else { $_.Exception.Message } }
        Start-Sleep -Seconds 1
    }
    Stop-Setup "it is not ready after $WaitSeconds seconds: $answer", "Look at: $Compose ps", "and at:  $Compose logs migrate api"
}

Set-Location (Join-Path $PSScriptRoot '../..')
if (-not ((Test-Path '.env.example') -and (Test-Path 'docker-compose.yml'))) {
    Stop-Setup 'this is no checkout: .env.example or docker-compose.yml is missing'
}
if (-not $EnvOnly) {
    $words = @(Find-Compose)
    $Compose = $words -join ' '
}
New-Environment
if ($EnvOnly) { exit 0 }

# What the image says of itself, unless the environment says otherwise.
if (-not $env:SSPP_VERSION) {
    $env:SSPP_VERSION = ([regex]'(?m)^version = "(.*)"').Match([IO.File]::ReadAllText((Join-Path $PWD 'pyproject.toml'))).Groups[1].Value
}
if (-not $env:SSPP_REVISION) {
    $env:SSPP_REVISION = if (Test-Command @('git', 'rev-parse', 'HEAD')) { & git rev-parse HEAD } else { 'unknown' }
}
Write-Host "building: $Compose build migrate"
& $words[0] @(@($words | Select-Object -Skip 1) + @('build', 'migrate'))
if ($LASTEXITCODE -ne 0) { Stop-Setup 'the image was not built; the last lines above say why.' }
Write-Host "starting: $Compose up -d $Service"
& $words[0] @(@($words | Select-Object -Skip 1) + @('up', '-d') + $Service)
if ($LASTEXITCODE -ne 0) {
    Stop-Setup 'it did not start; the last lines above say why.', "Look at: $Compose logs migrate"
}
$url = "http://127.0.0.1:$(Get-Value 'PORT' '8000')"
Wait-UntilReady $url

Write-Output @"

SSPP is running.

  API         $url
  docs        $url/docs
  Prometheus  http://127.0.0.1:$(Get-Value 'PROMETHEUS_PORT' '9090')
  Grafana     http://127.0.0.1:$(Get-Value 'GRAFANA_PORT' '3000')   admin, and GRAFANA_PASSWORD of .env

Make a tenant and a key, and send an event:

  $Compose --profile cli run --rm sspp seed
  `$key = $Compose --profile cli run --rm -T sspp keys create demo --scope ingest --scope read
  Invoke-RestMethod -Method Post -Uri $url/v1/events -ContentType 'application/json' ``
    -Headers @{Authorization = "Bearer `$key"} ``
    -Body '{"event_type": "inquiry", "customer_id": "ada", "data": {"subject": "Quote for twenty seats"}}'

More workers:  $Compose up -d --scale worker-ingest=3
PgAdmin and RQ's queues:  $Compose --profile tools up -d
Stop, and keep the data:  $Compose down
"@
