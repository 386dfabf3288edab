<#
.SYNOPSIS
Sets up the whole platform in containers, by docker-compose.yml.

.DESCRIPTION
Checks what is needed, makes .env from .env.example with generated passwords, builds the image, starts everything, and
waits until it is migrated, ready, and every service runs and goes on running. May be run again at any time: an .env that
is there is kept, and only what it lacks is added. docs/howto/run_with_compose.md tells the rest.

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
# How long it may take until the API is ready, then until every service is well, and how long each has to stay so.
$WaitSeconds = 300
$WellSeconds = 120
$SteadySeconds = 5

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

# What is wrong with what is there, before anything is touched: variables by name, never what they are set to.
function Assert-Environment {
    $path = Join-Path $PWD '.env'
    $lines = @()
    if (Test-Path $path) {
        if (-not (Test-Path -PathType Leaf $path)) {
            Stop-Setup '.env is no file: it is a folder.', 'Move it away, and run this again.'
        }
        $lines = @([IO.File]::ReadAllLines($path))
    }
    $broken = @()
    foreach ($line in [IO.File]::ReadAllLines((Join-Path $PWD '.env.example'))) {
        if ($line -cnotmatch '^[A-Z0-9_]+_PASSWORD=$') { continue }
        $name = $line.TrimEnd('=')
        # The environment comes before .env.
        $value = [Environment]::GetEnvironmentVariable($name)
        $set = @($lines -cmatch "^$line")
        if (-not $value -and $set.Count -gt 0) { $value = $set[-1].Substring($line.Length) }
        if ($value -and $value -cnotmatch '\A[A-Za-z0-9_-]+\z') { $broken += $name }
    }
    if ($broken.Count -gt 0) {
        Stop-Setup "a password may have letters, digits, - and _ only, and no quotes around it. Not so: $($broken -join ' ')",
        'They become parts of URLs. Change them in .env (or in the environment), and run this again.'
    }
}

function New-Environment {
    $template = [IO.File]::ReadAllLines((Join-Path $PWD '.env.example'))
    $path = Join-Path $PWD '.env'
    $there = Test-Path $path
    if ($there) {
        $old = [IO.File]::ReadAllLines($path)
        # A newer release may have more passwords.
        $missing = @($template | Where-Object {
                $_ -cmatch '^[A-Z0-9_]+_PASSWORD=$' -and -not ($old -cmatch ('^' + $_)) })
        $new = @(Complete-Lines ($old + $missing))
        if (($new -join "`n") -ceq ($old -join "`n")) {
            Write-Host '.env is complete, and stays as it is'
            return
        }
    }
    else { $new = @(Complete-Lines $template) }
    # Without a byte order mark, which compose would take for text.
    $text, $encoding = (($new -join "`n") + "`n"), (New-Object Text.UTF8Encoding($false))
    # Protected before anything is in it.
    $draft = "$path.$PID"
    $keep = $false
    try {
        [IO.File]::WriteAllText($draft, '')
        Protect-File $draft
        [IO.File]::WriteAllText($draft, $text, $encoding)
        if ($there) {
            # Through to the file, so that links, owner and rights stay; the draft has all, should that break off.
            $keep = $true
            [IO.File]::WriteAllText($path, $text, $encoding)
            $keep = $false
            Write-Host 'added to .env what it lacked'
        }
        else {
            # It never takes the place of what another run has made meanwhile.
            try { [IO.File]::Move($draft, $path) }
            catch {
                if (-not (Test-Path $path)) { throw }
                Write-Host 'another run has just made .env, and it stays as that made it'
                return
            }
            Write-Host 'made .env, readable by you alone; keep a copy of it where you keep passwords'
        }
    }
    catch {
        if ($keep) {
            Stop-Setup ".env was not written: $($_.Exception.Message)", "What it is to be is in ${draft}: keep it, it has all passwords."
        }
        Stop-Setup "cannot write in ${PWD}: $($_.Exception.Message)"
    }
    finally {
        if (-not $keep -and (Test-Path $draft)) { Remove-Item $draft }
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

# The services that are to run from now on and that /readyz does not speak of: of those given, or of all.
function Get-LastingServices {
    $all = $Service
    if ($all.Count -eq 0) {
        $all = @(& $words[0] @(@($words | Select-Object -Skip 1) + @('config', '--services')))
        if ($LASTEXITCODE -ne 0) { Stop-Setup "$Compose config --services failed; the lines above say why." }
    }
    return @($all | Where-Object { $_ -notin @('migrate', 'postgres', 'redis', 'elasticsearch', 'api') })
}

# When the process of a service began, if it is well. Asked in its container, as podman without systemd does no health
# checks by itself, and does not say of a container that ends at once, again and again, that it does.
function Get-Start([string]$Name) {
    # What a command says on stderr would else end this script in Windows PowerShell.
    $ErrorActionPreference = 'Continue'
    $check = if ($Name -clike 'worker-*') { 'python -m infrastructure.compose.healthcheck' } else { 'true' }
    $asked = @('exec', '-T', $Name, 'sh', '-c', "$check && cat /proc/1/stat")
    $told = @(& $words[0] @(@($words | Select-Object -Skip 1) + $asked) 2>$null)
    if ($LASTEXITCODE -ne 0) { return '' }
    foreach ($line in $told) {
        # What follows the name of process 1 is its state; the 20th from there is its start.
        if ($line -match '^1 \(.*\) (.*)$') { return ($Matches[1] -split ' ')[19] }
    }
    return ''
}

# Until two looks in a row, a while apart, see each service well and not begun anew.
function Wait-UntilWell([string[]]$Names) {
    Write-Host "waiting until these run and go on running, at most $WellSeconds seconds: $Names"
    $deadline = (Get-Date).AddSeconds($WellSeconds)
    $before = @{}
    for ($looks = 1; ; $looks++) {
        $now = @{}
        foreach ($name in $Names) { $now[$name] = Get-Start $name }
        $unwell = @($Names | Where-Object { -not $now[$_] -or $now[$_] -cne $before[$_] })
        if ($unwell.Count -eq 0) { return }
        if ($looks -ge 2 -and (Get-Date) -ge $deadline) { break }
        $before = $now
        Start-Sleep -Seconds $SteadySeconds
    }
    $advice = @(foreach ($name in $unwell) { "Look at: $Compose logs $name" })
    Stop-Setup (@("after $WellSeconds seconds these have ended, begin anew again and again, or do not answer: $unwell") + $advice)
}

Set-Location (Join-Path $PSScriptRoot '../..')
if (-not ((Test-Path '.env.example') -and (Test-Path 'docker-compose.yml'))) {
    Stop-Setup 'this is no checkout: .env.example or docker-compose.yml is missing'
}
if (-not $EnvOnly) {
    $words = @(Find-Compose)
    $Compose = $words -join ' '
}
Assert-Environment
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
    Stop-Setup "it did not start; what $($words[0]) says above tells why.",
    'If a port is taken (already allocated, address already in use): set PORT, PROMETHEUS_PORT or GRAFANA_PORT in .env.',
    "If migrate failed, look at: $Compose logs migrate"
}
$url = "http://127.0.0.1:$(Get-Value 'PORT' '8000')"
Wait-UntilReady $url
$started = @(Get-LastingServices)
if ($started.Count -gt 0) { Wait-UntilWell $started }

$more = ''
if ($started -ccontains 'prometheus' -or $started -ccontains 'grafana') { # which needs it
    $more += "`n  Prometheus  http://127.0.0.1:$(Get-Value 'PROMETHEUS_PORT' '9090')"
}
if ($started -ccontains 'grafana') {
    $more += "`n  Grafana     http://127.0.0.1:$(Get-Value 'GRAFANA_PORT' '3000')   admin, and GRAFANA_PASSWORD of .env"
}
Write-Output @"

SSPP is running.

  API         $url
  docs        $url/docs$more

Make a tenant and a key, and send an event:

  $Compose --profile cli run --rm sspp seed
  `$key = $Compose --profile cli run --rm -T sspp keys create demo --scope ingest --scope read
  Invoke-RestMethod -Method Post -Uri $url/v1/events -ContentType 'application/json' ``
    -Headers @{Authorization = "Bearer `$key"} ``
    -Body '{"event_type": "inquiry", "customer_id": "ada", "data": {"subject": "Quote for twenty seats"}}'

More workers:  $Compose up -d --scale worker-ingest=3 worker-ingest
PgAdmin and RQ's queues:  $Compose --profile tools up -d pgadmin rq-dashboard
Stop, and keep the data:  $Compose down
"@
